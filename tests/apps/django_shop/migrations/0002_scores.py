"""Columns, a constraint, an index, a longer and a renamed column, and rows."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def stock(apps: Any, schema_editor: Any) -> None:
    apps.get_model("shop", "Product").objects.create(sku="voucher", title="Voucher", price=10)
    apps.get_model("shop", "Customer").objects.create(name="Walk-in")


def unstock(apps: Any, schema_editor: Any) -> None:
    apps.get_model("shop", "Product").objects.filter(sku="voucher").delete()
    apps.get_model("shop", "Customer").objects.filter(name="Walk-in").delete()


class Migration(migrations.Migration):
    dependencies = (("shop", "0001_initial"),)

    operations = (
        migrations.AddField("Customer", "born", models.DateField(null=True)),
        migrations.AddField("Customer", "score", models.IntegerField(default=0)),
        migrations.AlterField("Customer", "name", models.CharField(db_index=True, max_length=40)),
        migrations.AddConstraint(
            "Customer", models.CheckConstraint(condition=models.Q(score__gte=0), name="score_not_negative")
        ),
        migrations.AddIndex("OrderLine", models.Index(fields=["customer", "order"], name="of_order")),
        migrations.RenameField("Note", "words", "text"),
        migrations.RunPython(stock, unstock),
    )
