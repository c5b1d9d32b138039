"""A shop. Customers, their orders and the lines of these lie together, sharded by customer; products are everywhere,
notes on a cluster of their own, everything of Django's own at home."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Q


class Customer(models.Model):
    name = models.CharField(max_length=40, db_index=True)
    country = models.CharField(max_length=2, default="de")
    born = models.DateField(null=True)
    score = models.IntegerField(default=0)

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(score__gte=0), name="score_not_negative"),)


class Product(models.Model):
    sku = models.CharField(max_length=10, primary_key=True)
    title = models.CharField(max_length=60)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    details = models.JSONField(default=dict)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    number = models.PositiveIntegerField()
    placed = models.DateTimeField()
    paid = models.BooleanField(default=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("customer", "number"), name="number_of_customer"),)
        ordering = ("placed",)


class OrderLine(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines", db_constraint=False)
    product = models.ForeignKey(Product, models.PROTECT)
    count = models.PositiveSmallIntegerField(default=1)
    price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        indexes = (models.Index(fields=("customer", "order"), name="of_order"),)

    @property
    def total(self) -> Decimal:
        return self.price * self.count


class Note(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, db_constraint=False, null=True)
    text = models.TextField()
    tags = models.ManyToManyField("Tag")


class Tag(models.Model):
    name = models.CharField(max_length=20, unique=True)
