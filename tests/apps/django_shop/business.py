"""What the shop does. Every answer is printed as a line of JSON; ids are left out, which are the server's business."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.core.paginator import Paginator
from django.db import IntegrityError, connection, transaction
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    F,
    Max,
    Min,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.deletion import ProtectedError
from django.db.models.functions import Coalesce, Concat, Length, RowNumber, TruncMonth, Upper

from tests.apps.django_shop.models import Customer, Note, Order, OrderLine, Product, Tag

UTC = datetime.UTC
STEPS: list[Callable[[], Any]] = []


def step(function: Callable[[], Any]) -> Callable[[], Any]:
    STEPS.append(function)
    return function


def play(only: Sequence[str] = ()) -> None:
    """All steps, or those with these names."""
    for function in STEPS:
        if only and function.__name__ not in only:
            continue
        print(json.dumps([function.__name__, function()], default=str), flush=True)


def _command(*words: str, **options: Any) -> list[str]:
    out = io.StringIO()
    call_command(*words, stdout=out, no_color=True, **options)
    return out.getvalue().splitlines()


def _at(day: int, hour: int = 12) -> datetime.datetime:
    return datetime.datetime(2024, 1 + day // 28, 1 + day % 28, hour, tzinfo=UTC)


# -- migrations


@step
def migrate() -> Any:
    return _command("migrate", verbosity=1)


@step
def migrated() -> Any:
    return _command("showmigrations"), _command("migrate", check_unapplied=True), _command("makemigrations", "--check")


@step
def inspected() -> Any:
    """The models that Django would make of the tables that it finds."""
    return _command("inspectdb")


@step
def tables() -> Any:
    with connection.cursor() as cursor:
        found = {}
        for table in sorted(connection.introspection.table_names(cursor)):
            constraints = connection.introspection.get_constraints(cursor, table)
            found[table] = sorted((str(name), sorted(each.items())) for name, each in constraints.items())
        return found, sorted(map(str, connection.introspection.sequence_list()))


@step
def back_and_forth() -> Any:
    back = _command("migrate", "shop", "0001", verbosity=1)
    with connection.cursor() as cursor:
        columns = [c.name for c in connection.introspection.get_table_description(cursor, "shop_customer")]
    return back, columns, _command("migrate", "shop", verbosity=1), _command("sqlmigrate", "shop", "0002")


# -- rows


@step
def products() -> Any:
    made = [Product(sku=f"p{n}", title=f"Product {n}", price=Decimal(n) + Decimal("0.5")) for n in range(8)]
    Product.objects.bulk_create(made)
    first = Product.objects.create(sku="first", title="First", price=1, details={"size": [1, 2], "of": None})
    first.price = Decimal("2.25")
    first.save()
    again, new = Product.objects.update_or_create(sku="p7", defaults={"title": "Seventh"})
    found, made_now = Product.objects.get_or_create(sku="p8", defaults={"title": "Eighth", "price": 8})
    Product.objects.filter(price__gt=5).update(price=F("price") * 2)
    return (
        [again.title, new, found.sku, made_now, Product.objects.get(pk="first").details],
        list(Product.objects.order_by("sku").values_list("sku", "title", "price")),
        list(Product.objects.filter(details__size__0=1).values_list("sku", flat=True)),
    )


@step
def customers() -> Any:
    ada = Customer(name="Ada", country="uk", born=datetime.date(1815, 12, 10))
    ada.save()
    Customer.objects.bulk_create(
        [Customer(name=f"customer {n:02}", country=("de", "fr", "uk")[n % 3], score=n) for n in range(30)]
    )
    grace, new = Customer.objects.get_or_create(name="Grace", defaults={"country": "us"})
    again, not_new = Customer.objects.get_or_create(name="Grace")
    ada.score = 7
    ada.save(update_fields=["score"])
    ada.refresh_from_db()
    ids = [each.pk for each in Customer.objects.all()]
    return ada.score, new, not_new, grace == again, len(ids), len(set(ids)), None in ids


@step
def orders() -> Any:
    prices = {each.sku: each.price for each in Product.objects.all()}
    for place, customer in enumerate(Customer.objects.order_by("name")[:20]):
        with transaction.atomic():
            for number in range(place % 4):
                order = Order.objects.create(
                    customer=customer, number=number, placed=_at(place * 2, number), paid=number == 0
                )
                OrderLine.objects.bulk_create(
                    [
                        OrderLine(
                            customer=customer, order=order, product_id=sku, count=place % 3 + 1, price=prices[sku]
                        )
                        for sku in (f"p{place % 8}", f"p{(place + number) % 7}")
                    ]
                )
    return Order.objects.count(), OrderLine.objects.count(), OrderLine.objects.aggregate(Sum("price"))


@step
def notes() -> Any:
    tags = Tag.objects.bulk_create([Tag(name=name) for name in ("late", "kind", "loud")])
    tags = list(Tag.objects.order_by("name"))
    for place, customer in enumerate(Customer.objects.order_by("-name")[:9]):
        note = Note.objects.create(customer=customer, text=f"note {place} on {customer.name}")
        note.tags.set(tags[: place % 4])
    loud = Tag.objects.get(name="loud")
    loud.note_set.first().tags.remove(loud)
    return (
        list(Note.objects.filter(tags__name="kind").order_by("text").values_list("text", flat=True)),
        list(Tag.objects.annotate(n=Count("note")).order_by("name").values_list("name", "n")),
    )


# -- questions


@step
def filters() -> Any:
    return (
        list(Customer.objects.filter(country="fr", score__lt=15).order_by("-score").values_list("name", flat=True)),
        list(Customer.objects.filter(Q(name__istartswith="A") | Q(score__in=[3, 4])).order_by("name").values("name")),
        list(Customer.objects.exclude(born=None).values_list("name", "born__year")),
        Customer.objects.filter(name__contains="customer 0").count(),
        Customer.objects.filter(name="Nobody").exists(),
        list(Customer.objects.order_by("country", "-name")[4:9].values_list("country", "name")),
        list(Customer.objects.values_list("country", flat=True).distinct().order_by("country")),
        [each.name for each in Customer.objects.order_by("name").reverse().only("name")[:2]],
        Customer.objects.earliest("score", "name").name,
        sorted(each.name for each in Customer.objects.iterator(chunk_size=7))[:3],
        len(Customer.objects.in_bulk(list(Customer.objects.values_list("pk", flat=True)[:6]))),
    )


@step
def joins() -> Any:
    lines = OrderLine.objects.select_related("order", "product", "customer").order_by(
        "customer__name", "order__number", "product__sku", "count"
    )
    return (
        [(each.customer.name, each.order.number, each.product.title, each.total) for each in lines[:12]],
        list(
            Order.objects.filter(lines__product__price__gt=5, customer__country="de")
            .distinct()
            .order_by("customer__name", "number")
            .values_list("customer__name", "number")
        ),
        list(Customer.objects.filter(orders=None).order_by("name").values_list("name", flat=True)),
        list(Note.objects.filter(customer__country="fr").order_by("text").values_list("text", "customer__name")),
        list(
            Order.objects.filter(customer__note__tags__name="late")
            .order_by("customer__name", "number")
            .values_list("customer__name", "number")
        ),
    )


@step
def of_one_customer() -> Any:
    customer = Customer.objects.get(name="customer 10")
    return (
        list(customer.orders.values_list("number", "paid")),
        list(customer.orders.filter(paid=False).values_list("number", flat=True)),
        customer.orderline_set.aggregate(n=Count("pk"), total=Sum(F("price") * F("count"))),
        [each.lines.count() for each in customer.orders.filter(customer=customer)],
        customer.orders.latest("placed").number,
        customer.note_set.count(),
    )


@step
def prefetched() -> Any:
    found = (
        Customer.objects.filter(name__lt="customer 12")
        .order_by("name")
        .prefetch_related(
            Prefetch("orders", Order.objects.order_by("number")), "orders__lines__product", "note_set__tags"
        )
    )
    return [
        (
            each.name,
            [(order.number, sorted(line.product.title for line in order.lines.all())) for order in each.orders.all()],
            [(note.text, sorted(tag.name for tag in note.tags.all())) for note in each.note_set.all()],
        )
        for each in found
    ]


@step
def aggregates() -> Any:
    worth = F("price") * F("count")
    return (
        Customer.objects.aggregate(
            Avg("score"), Max("score"), Min("name"), Sum("score"), n=Count("country", distinct=True)
        ),
        list(Customer.objects.values("country").annotate(n=Count("pk"), best=Max("score")).order_by("country")),
        list(
            Customer.objects.annotate(n=Count("orders")).filter(n__gt=1).order_by("-n", "name").values_list("name", "n")
        ),
        list(OrderLine.objects.values("product__title").annotate(sum=Sum(worth)).order_by("-sum", "product__title")),
        list(
            Order.objects.annotate(month=TruncMonth("placed", tzinfo=UTC))
            .values("month")
            .annotate(n=Count("pk"))
            .order_by("month")
            .values_list("month", "n")
        ),
        list(Order.objects.dates("placed", "month")),
        list(
            Customer.objects.annotate(
                spent=Coalesce(Sum(F("orders__lines__price") * F("orders__lines__count")), Decimal(0))
            )
            .order_by("-spent", "name")
            .values_list("name", "spent")[:5]
        ),
        Order.objects.annotate(n=Count("lines")).aggregate(Avg("n")),
    )


@step
def expressions() -> Any:
    newest = Order.objects.filter(customer=OuterRef("pk")).order_by("-placed")
    return (
        list(
            Customer.objects.annotate(newest=Subquery(newest.values("number")[:1]))
            .exclude(newest=None)
            .order_by("name")
            .values_list("name", "newest")[:6]
        ),
        list(
            Customer.objects.filter(Exists(newest.filter(paid=False))).order_by("name").values_list("name", flat=True)
        ),
        list(
            Customer.objects.annotate(
                kind=Case(When(score__gte=20, then=Value("good")), default=Value("new")), loud=Upper("name")
            )
            .order_by("-score", "name")
            .values_list("loud", "kind")[:4]
        ),
        list(
            Customer.objects.annotate(label=Concat("name", Value(" of "), "country"), long=Length("name"))
            .filter(long__lt=6)
            .order_by("label")
            .values_list("label", flat=True)
        ),
        list(
            Customer.objects.annotate(
                place=Window(RowNumber(), partition_by="country", order_by=[F("score").desc(), F("name").asc()])
            )
            .order_by("country", "place")
            .values_list("country", "place", "name")[:8]
        ),
        list(
            Customer.objects.filter(score__lt=3)
            .values_list("name")
            .union(Customer.objects.filter(country="us").values_list("name"))
            .order_by("name")
        ),
        [
            each.name
            for each in Customer.objects.raw("SELECT * FROM shop_customer WHERE score > %s ORDER BY name", [27])
        ],
        list(
            Product.objects.filter(pk__in=OrderLine.objects.filter(count=3).values("product"))
            .order_by("pk")
            .values_list("pk")
        ),
        [page.object_list[0].name for page in Paginator(Customer.objects.order_by("name"), 10)],
    )


# -- changes


@step
def updates() -> Any:
    customer = Customer.objects.get(name="customer 05")
    return (
        Customer.objects.filter(pk=customer.pk).update(score=F("score") + 100),
        Customer.objects.filter(country="uk").update(score=F("score") + 1),
        Order.objects.filter(paid=False, number__gte=2).update(paid=True),
        Order.objects.filter(customer__country="fr", paid=False).update(paid=True),
        Customer.objects.bulk_update(
            [Customer(pk=pk, country="ch") for pk in Customer.objects.filter(score__lt=4).values_list("pk", flat=True)],
            ["country"],
        ),
        list(Customer.objects.order_by("name").values_list("name", "country", "score")),
        Order.objects.filter(paid=False).count(),
    )


@step
def transactions() -> Any:
    told: list[Any] = []
    try:
        with transaction.atomic():
            Customer.objects.create(name="never")
            Note.objects.create(text="never")
            Product.objects.filter(pk="first").update(title="never")
            told.append([Customer.objects.filter(name="never").count(), Note.objects.filter(text="never").count()])
            raise ArithmeticError
    except ArithmeticError:
        told.append([Customer.objects.filter(name="never").count(), Note.objects.filter(text="never").count()])
    with transaction.atomic():
        kept = Customer.objects.create(name="kept")
        try:
            with transaction.atomic():
                Customer.objects.create(name="inner")
                Note.objects.create(text="inner", customer=kept)
                raise ArithmeticError
        except ArithmeticError:
            told.append("inner")
        Note.objects.create(text="outer", customer=kept)
        locked = Customer.objects.select_for_update().get(pk=kept.pk)
        locked.score += 1
        locked.save()
        transaction.on_commit(lambda: told.append("committed"))
    told.append(list(Customer.objects.filter(name__in=["kept", "inner"]).values_list("name", "score")))
    told.append(list(Note.objects.filter(text__in=["inner", "outer"]).values_list("text", "customer__name")))
    told.append(Product.objects.get(pk="first").title)
    return told


def _error(function: Callable[[], Any]) -> str:
    try:
        with transaction.atomic():
            function()
    except (IntegrityError, ProtectedError) as error:
        return f"{type(error).__name__} {error.args[0] if isinstance(error.args[0], int) else ''}".strip()
    return "none"


@step
def errors() -> Any:
    customer = Customer.objects.get(name="customer 10")
    return (
        _error(lambda: Order.objects.create(customer=customer, number=0, placed=_at(1))),
        _error(lambda: Order.objects.create(customer_id=99999999, number=0, placed=_at(1))),
        _error(lambda: Customer.objects.create(name="x", score=-1)),
        _error(lambda: Product.objects.create(sku="p1", title="again", price=1)),
        _error(lambda: Product.objects.get(sku="p1").delete()),
        _error(lambda: Tag.objects.create(name="late")),
        _error(lambda: OrderLine.objects.create(customer=customer, order_id=1, product_id="nothing", price=1)),
        Order.objects.count(),
    )


@step
def deletes() -> Any:
    gone = Customer.objects.get(name="customer 10")
    counts = gone.delete()
    return (
        sorted(counts[1].items()),
        sorted(Customer.objects.filter(name__in=["customer 14", "customer 15"]).delete()[1].items()),
        sorted(Note.objects.filter(text="outer").delete()[1].items()),
        OrderLine.objects.filter(count__lt=2)._raw_delete("default"),
        [model.objects.count() for model in (Customer, Order, OrderLine, Note, Tag, Product)],
    )


# -- Django's own tables


@step
def accounts() -> Any:
    User = get_user_model()
    user = User.objects.create_user("ada", "ada@example.org", "secret", first_name="Ada")
    group = Group.objects.create(name="sellers")
    group.permissions.set(Permission.objects.filter(content_type__app_label="shop", codename__startswith="add"))
    user.groups.add(group)
    user = authenticate(username="ada", password="secret")
    wrong = authenticate(username="ada", password="wrong")
    session = SessionStore()
    session["basket"] = ["p1", "p2"]
    session.save()
    again = SessionStore(session.session_key)
    return (
        [user.first_name if user else None, wrong],
        sorted(user.get_all_permissions()) if user else None,
        again["basket"],
        sorted(ContentType.objects.filter(app_label="shop").values_list("model", flat=True)),
        User.objects.filter(groups__name="sellers").count(),
    )


@step
def fixtures() -> Any:
    text = _command("dumpdata", "shop.product", "shop.tag", indent=0)
    return sorted(each["fields"].get("title", "") for each in json.loads("".join(text)))


@step
def flush() -> Any:
    _command("flush", interactive=False, verbosity=0)
    return [model.objects.count() for model in (Customer, Order, OrderLine, Note, Tag, Product, get_user_model())]
