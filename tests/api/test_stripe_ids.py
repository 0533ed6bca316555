"""B8: what callers call a payment is one of Stripe's ids, and the payment is of the key's mode."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.served_shop import ServedShop, expect, return_body

NO_INTENTS = ["search", "pi_", "pi_1/../x", "ch_1", "re_1", "pi_ü", "PI_1", "pi_1\n", "pi_" + "x" * 251]
NO_CHARGES = ["search", "ch_", "pi_1", "re_1", "ch-1", "py_1?x=y"]


@pytest.mark.parametrize(
    "field,name", [*(("payment_intent", n) for n in NO_INTENTS), *(("charge", n) for n in NO_CHARGES)]
)
async def test_b8_only_ids_of_a_payment_are_asked_for(shop: ServedShop, field: str, name: str) -> None:
    """B8: `search` and the like were put into Stripe's path."""
    for path, body in (("/v1/returns", {**return_body(...), field: name}), ("/v1/refunds", {field: name})):
        assert expect(await shop.post(path, body), 422, "invalid_request")["errors"][0]["param"] == field
    assert shop.wire.requests == []


@pytest.mark.parametrize("name", ["pi_" + "0" * 251, "ch_ü", "py_", "search"])
async def test_b8_another_word_names_no_payment(shop: ServedShop, name: str) -> None:
    """B8: an id of more characters than Stripe's have was a 500."""
    expect(await shop.get(f"/v1/payments/{name}"), 404, "not_found")
    assert shop.wire.requests == []


@pytest.mark.parametrize("path", ["/v1/returns", "/v1/refunds"])
async def test_b8_a_live_payment_under_a_test_key_is_not_adopted(shop: ServedShop, path: str) -> None:
    """B8: a wrong base led to live payments, which were taken in."""
    name = shop.pay()
    shop.ledger.payment_intents[name]["livemode"] = True
    body: dict[str, Any] = return_body(name) if path == "/v1/returns" else {"payment_intent": name}
    problem = expect(await shop.post(path, body), 404, "payment_missing")
    assert "live payment" in problem["detail"]
    assert (await shop.count_rows())["Payment"] == 0
