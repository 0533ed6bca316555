"""The subset of Stripe's search language."""

from __future__ import annotations

import pytest

from tests.simulator.shop import Shop

PATH = "/v1/payment_intents/search"


@pytest.fixture
def names(shop: Shop) -> list[str]:
    """The ids of three payments: 500 usd, 1000 eur, 2000 usd (authorized); orders 1, 2 and 2."""
    return [
        shop.pay(500, **{"metadata[order]": "1"})["id"],
        shop.pay(1000, currency="eur", **{"metadata[order]": "2"})["id"],
        shop.authorize(2000, **{"metadata[order]": "2"})["id"],
    ]


@pytest.mark.parametrize(
    "query, found",
    [
        ("metadata['order']:'2'", [2, 1]),
        ('metadata["order"]:"1"', [0]),
        ('status:"succeeded"', [1, 0]),
        ('-status:"succeeded"', [2]),
        ('status:"succeeded" AND metadata["order"]:"2"', [1]),
        ('status:"succeeded" metadata["order"]:"2"', [1]),
        ("amount<600 OR amount>=2000", [2, 0]),
        ("currency:eur", [1]),
        ("customer:null", [2, 1, 0]),
        ('metadata["other"]:null', [2, 1, 0]),
        ('status:"canceled"', []),
    ],
)
def test_a_query_finds_its_payments(shop: Shop, names: list[str], query: str, found: list[int]) -> None:
    result = shop.get(PATH, {"query": query})
    assert [row["id"] for row in result["data"]] == [names[number] for number in found]
    assert (result["object"], result["has_more"], result["next_page"]) == ("search_result", False, None)


def test_a_search_goes_on_where_a_page_ends(shop: Shop, names: list[str]) -> None:
    first = shop.get(PATH, {"query": "amount>0", "limit": 2})
    assert first["has_more"] is True
    rest = shop.get(PATH, {"query": "amount>0", "limit": 2, "page": first["next_page"]})
    assert [row["id"] for row in first["data"] + rest["data"]] == names[::-1]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "status",
        'colour:"red"',
        'metadata:"x"',
        'status["a"]:"x"',
        'status>"x"',
        "amount>1 AND status:x OR amount<2",
    ],
)
def test_an_unreadable_query_is_refused(shop: Shop, query: str) -> None:
    assert shop.refused(PATH, {"query": query}, method="GET")["param"] == "query"


def test_charges_are_searched_too(shop: Shop, names: list[str]) -> None:
    result = shop.get("/v1/charges/search", {"query": f'payment_intent:"{names[0]}"'})
    assert [row["amount"] for row in result["data"]] == [500]
