"""A made-up shop that behaves like one: tastes, staples that run out, seasons, new products, things bought together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

FIRST_DAY = datetime(2024, 1, 1)
WEEKS, CUSTOMERS, PER_TYPE, BRANDS = 26, 300, 10, 14
CATALOGUE = {
    "Dairy": ("Milk", "Yoghurt", "Cheese", "Butter"),
    "Bakery": ("Bread", "Rolls", "Cake"),
    "Fruit": ("Apples", "Bananas", "Berries", "Melon"),
    "Vegetables": ("Salad", "Tomatoes", "Potatoes"),
    "Drinks": ("Water", "Juice", "Coffee", "Tea", "Lemonade"),
    "Pantry": ("Pasta", "Rice", "Soup", "Sauce"),
    "Frozen": ("Pizza", "Ice Cream", "Frozen Peas"),
    "Sweets": ("Chocolate", "Biscuits", "Crisps"),
    "Household": ("Detergent", "Paper", "Filters"),
    "Baby": ("Nappies", "Baby Food"),
    "Garden": ("Seeds", "Soil", "Charcoal"),
}
SUMMER = ("Berries", "Melon", "Lemonade", "Ice Cream", "Salad", "Charcoal", "Soil", "Seeds")
WINTER = ("Soup", "Tea", "Potatoes", "Chocolate")
TOGETHER = {"Coffee": "Filters", "Pasta": "Sauce", "Bread": "Butter", "Charcoal": "Lemonade", "Nappies": "Baby Food"}
"""Whoever buys the one takes the other within a week, half of the time."""
SEGMENTS = ("Single", "Couple", "Family")
SORTS = ("Classic", "Organic", "Light", "Fine", "Country", "Daily", "Extra", "Farm", "Gold", "Fresh")


@dataclass(frozen=True)
class _Products:
    kinds: list[str]
    """The subcategory of every product."""
    of_kind: dict[str, np.ndarray]
    popularity: np.ndarray
    since: np.ndarray
    """The week in which a product is new; 0 = it always was there."""
    brand: np.ndarray
    price: np.ndarray


def shop(seed: int) -> dict[str, pl.DataFrame]:
    """The tables ``orders``, ``products`` and ``customers``; the same for the same seed."""
    rng = np.random.default_rng(seed)
    products = _products(rng)
    category = {kind: name for name, kinds in CATALOGUE.items() for kind in kinds}
    table = pl.DataFrame({
        "sku": [_sku(number) for number in range(len(products.kinds))],
        "title": [f"{SORTS[n % PER_TYPE]} {kind}, brand {products.brand[n]}" for n, kind in enumerate(products.kinds)],
        "category": [category[kind] for kind in products.kinds],
        "subcategory": products.kinds,
        "brand": [f"brand {number}" for number in products.brand],
    })  # fmt: skip
    segments = rng.choice(len(SEGMENTS), CUSTOMERS, p=(0.35, 0.35, 0.3))
    customers = pl.DataFrame({
        "customer_id": [_customer(number) for number in range(CUSTOMERS)],
        "segment": [SEGMENTS[segment] for segment in segments],
    })  # fmt: skip
    rows: list[tuple[str, str, str, datetime, int, float, str]] = []
    for number in range(CUSTOMERS):
        rows += _orders(number, int(segments[number]), products, np.random.default_rng((seed, number)))
    rows.sort(key=lambda row: (row[3], row[0], row[2]))
    names = ("order_id", "customer_id", "sku", "ordered_at", "quantity", "amount", "shop")
    orders = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.col("ordered_at").dt.strftime("%Y-%m-%dT%H:%M:%S")
    )
    return {"orders": orders, "products": table, "customers": customers}


def _products(rng: np.random.Generator) -> _Products:
    kinds = [kind for kinds in CATALOGUE.values() for kind in kinds for _ in range(PER_TYPE)]
    count = len(kinds)
    of_kind = {kind: np.flatnonzero(np.array(kinds) == kind) for kind in dict.fromkeys(kinds)}
    popularity = np.concatenate([rng.permutation(1 / np.arange(1, PER_TYPE + 1)) for _ in of_kind])
    since = np.where(rng.random(count) < 0.15, rng.integers(4, WEEKS, count), 0)
    price = np.round(rng.lognormal(1.0, 0.5, count), 2)
    return _Products(kinds, of_kind, popularity, since, rng.integers(1, BRANDS + 1, count), price)


def _orders(
    number: int, segment: int, products: _Products, rng: np.random.Generator
) -> list[tuple[str, str, str, datetime, int, float, str]]:
    """What one customer orders: staples when they run out, what the season and the taste suggest, what goes together."""
    kinds = list(products.of_kind)
    taste = rng.gamma(0.6, 1.0, len(kinds))
    baby = np.array([kind in CATALOGUE["Baby"] for kind in kinds])
    taste[baby] = taste[baby] * 4 + 1 if segment == 2 else 0
    liked = set(rng.choice(BRANDS, 4, replace=False) + 1)
    staples = [
        (_picked(str(kind), 0, liked, products, rng), int(rng.choice((1, 2, 3, 4), p=(0.35, 0.35, 0.2, 0.1))))
        for kind in rng.choice(kinds, 4 + 2 * segment, replace=False, p=taste / taste.sum())
    ]
    due = [int(rng.integers(0, every)) for _, every in staples]
    day, hour, place = int(rng.integers(0, 7)), int(rng.integers(8, 20)), f"shop {1 + number % 5}"
    rows, follows = [], set[str]()
    for week in range(WEEKS):
        if rng.random() < 0.12:  # away
            continue
        basket = [item for at, (item, _) in enumerate(staples) if due[at] <= week]
        due = [week + every if due[at] <= week else due[at] for at, (_, every) in enumerate(staples)]
        basket += [_picked(kind, week, liked, products, rng) for kind in sorted(follows)]
        wanted = taste * np.array([_season(kind, week) for kind in kinds])
        more = rng.choice(kinds, 1 + int(rng.poisson(1.5 + segment)), p=wanted / wanted.sum())
        basket += [_picked(str(kind), week, liked, products, rng) for kind in more]
        bought = {products.kinds[item] for item in basket}
        follows = {TOGETHER[kind] for kind in sorted(bought & set(TOGETHER)) if rng.random() < 0.5}
        at = FIRST_DAY + timedelta(days=7 * week + day, hours=hour, minutes=int(rng.integers(0, 60)))
        for item in dict.fromkeys(basket):
            quantity = 1 + int(rng.poisson(0.3 + 0.4 * segment))
            paid = round(quantity * float(products.price[item]), 2)
            rows.append((f"o{number:03}{week:02}", _customer(number), _sku(item), at, quantity, paid, place))
    return rows


def _picked(kind: str, week: int, liked: set[int], products: _Products, rng: np.random.Generator) -> int:
    """A product of a kind: popular, of a brand that is liked, and new ones more often."""
    items = products.of_kind[kind]
    since = products.since[items]
    weight = products.popularity[items] * np.where(np.isin(products.brand[items], list(liked)), 4.0, 1.0)
    weight *= np.where(since > week, 0.0, np.where((since > 0) & (week - since < 4), 3.0, 1.0))
    if not weight.sum():
        weight = products.popularity[items]
    return int(rng.choice(items, p=weight / weight.sum()))


def _season(kind: str, week: int) -> float:
    """How much more a kind is wanted in a week of the first half of the year."""
    summer = week / WEEKS
    return 0.3 + 2.5 * summer if kind in SUMMER else 1.8 - 1.5 * summer if kind in WINTER else 1.0


def _sku(number: int) -> str:
    return f"P{1001 + number}"


def _customer(number: int) -> str:
    return f"c{number + 1}"
