"""Asking for a return: on which payment, for how much, and what bars it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.conftest import Shop, asked, said


async def test_a_return_says_where_it_is_and_which_version(shop: Shop) -> None:
    answer = await shop.post("/v1/returns", asked(shop.paid(), customer_email="c@example.com", metadata={"a": "b"}))
    made = said(answer, 201)
    assert answer.headers["location"] == f"/v1/returns/{made['id']}"
    assert answer.headers["etag"] == f'"{made["version"]}"'
    assert (made["object"], made["livemode"], made["metadata"]) == ("return", False, {"a": "b"})
    read = await shop.get(answer.headers["location"])
    assert (said(read, 200), read.headers["etag"]) == (made, answer.headers["etag"])


async def test_a_charge_names_its_payment_too(shop: Shop) -> None:
    payment = shop.paid()
    intent = shop.ledger.payment_intents[payment]
    by_charge = said(await shop.post("/v1/returns", asked(..., charge=intent["latest_charge"])), 201)
    both = said(await shop.post("/v1/returns", asked(payment, charge=intent["latest_charge"])), 201)
    assert by_charge["payment"] == both["payment"]
    assert by_charge["payment_intent"] == payment


async def test_a_charge_of_another_payment_is_refused(shop: Shop) -> None:
    other = shop.ledger.payment_intents[shop.paid()]["latest_charge"]
    said(await shop.post("/v1/returns", asked(shop.paid(), charge=other)), 422, "charge_mismatch")
    assert (await shop.tables())["ReturnAuthorization"] == 0


@pytest.mark.parametrize(
    "change, status, code",
    [
        ({"currency": "eur"}, 422, "currency_mismatch"),
        ({"amount": 10_001}, 422, "amount_exceeds_payment"),
        ({"shipping_amount": 1}, 422, "amount_exceeds_payment"),
        ({"payment": "pi_nobody"}, 404, "payment_missing"),
        ({"payment": ..., "charge": "ch_nobody"}, 404, "payment_missing"),
        ({"metadata": {"refund_id": "x"}}, 422, "metadata_reserved"),
        ({"metadata": {"x" * 41: "x"}}, 422, "metadata_invalid"),
        ({"metadata": {f"k{n}": "v" for n in range(47)}}, 422, "metadata_invalid"),
    ],
)
async def test_what_the_payment_or_stripe_would_refuse_writes_nothing(
    shop: Shop, change: dict[str, Any], status: int, code: str
) -> None:
    named: dict[str, Any] = {"payment": shop.paid(10_000), "amount": 10_000} | change
    body = asked(named.pop("payment"), named.pop("amount"), **named)
    said(await shop.post("/v1/returns", body), status, code)
    rows = await shop.tables()
    assert (rows["ReturnAuthorization"], rows["Event"], rows["IdempotencyKey"]) == (0, 0, 0)


async def test_a_payment_that_did_not_succeed_is_refused(shop: Shop) -> None:
    declined = shop.paid(method="pm_card_visa_chargeDeclined")
    said(await shop.post("/v1/returns", asked(declined)), 422, "payment_not_succeeded")


async def test_a_refund_of_nothing_at_stripe_bars_nothing(shop: Shop) -> None:
    payment = shop.paid()
    shop.dashboard.refund(payment, 500)
    next(iter(shop.ledger.refunds))["amount"] = 0
    said(await shop.post("/v1/returns", asked(payment, 4000)), 201)


async def test_no_unit_goes_into_two_returns(shop: Shop) -> None:
    payment = shop.paid()

    def units(quantity: int) -> dict[str, Any]:
        line = {"sku": "A", "quantity": quantity, "total_amount": 100, "order_line": "l1", "quantity_ordered": 3}
        return asked(payment) | {"lines": [line]}

    said(await shop.post("/v1/returns", units(2)), 201)
    said(await shop.post("/v1/returns", units(2)), 422, "units_already_returned")
    said(await shop.post("/v1/returns", units(1)), 201)


def of_order(payment: str, *lines: dict[str, Any], order_id: str = "o1") -> dict[str, Any]:
    """Return the body that asks for lines of an order, each one unit of `l1` unless it says otherwise."""
    line = {"sku": "A", "quantity": 1, "total_amount": 100, "order_line": "l1"}
    return asked(payment, order_id=order_id) | {"lines": [line | more for more in lines]}


async def test_more_units_than_were_ordered_are_refused(shop: Shop) -> None:
    """B6: `quantity 3, quantity_ordered 1`, with and without an order line."""
    for line in ({"order_line": None}, {}):
        body = of_order(shop.paid(), line | {"quantity": 3, "quantity_ordered": 1})
        problem = said(await shop.post("/v1/returns", body), 422, "quantity_exceeds_ordered")
        assert (problem["param"], problem["quantity_ordered"]) == ("lines[0].quantity", 1)
    made = await shop.requested()
    lines = of_order("", {"quantity": 3, "quantity_ordered": 1})["lines"]
    said(await shop.post(f"/v1/returns/{made['id']}", {"lines": lines}), 422, "quantity_exceeds_ordered")


async def test_two_lines_of_one_order_line_say_one_number(shop: Shop) -> None:
    """B6: two lines of one `order_line` with different `quantity_ordered`."""
    body = of_order(shop.paid(), {"quantity_ordered": 2}, {"quantity_ordered": 3})
    problem = said(await shop.post("/v1/returns", body), 422, "quantity_ordered_differs")
    assert (problem["param"], problem["quantity_ordered"]) == ("lines[1].quantity_ordered", 2)
    made = said(await shop.post("/v1/returns", of_order(shop.paid(), {"quantity_ordered": 2}, {})), 201)
    assert [line["quantity_ordered"] for line in made["lines"]] == [2, 2]


async def test_the_number_ordered_is_kept_and_holds_for_later_returns(shop: Shop) -> None:
    """B6: a later return that leaves it out; one on another payment of the order; ids trimmed."""
    first = said(await shop.post("/v1/returns", of_order(shop.paid(), {"quantity_ordered": 2})), 201)
    spaced = of_order(shop.paid(), {"order_line": " l1\t", "sku": " A\u00a0"}, order_id=" o1 ")
    second = said(await shop.post("/v1/returns", spaced), 201)
    line = second["lines"][0]
    assert (second["order_id"], line["order_line"], line["sku"], line["quantity_ordered"]) == ("o1", "l1", "A", 2)
    problem = said(await shop.post("/v1/returns", of_order(shop.paid(), {})), 422, "units_already_returned")
    assert (problem["quantity"], problem["quantity_ordered"]) == (3, 2)
    more = of_order(shop.paid(), {"quantity_ordered": 9})
    said(await shop.post("/v1/returns", more), 422, "quantity_ordered_differs")
    said(await shop.post("/v1/returns", of_order(shop.paid(), {"quantity_ordered": 9}, order_id="o2")), 201)
    for made in (first, second):
        said(await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "A mistake."}), 200)
    said(await shop.post("/v1/returns", more), 201)


async def test_stripe_down_means_later_and_nothing_stored(shop: Shop) -> None:
    body, shop.line.down = asked(shop.paid()), True
    answer = await shop.post("/v1/returns", body, key="k1")
    said(answer, 503, "stripe_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert set((await shop.tables()).values()) == {0}
    shop.line.down = False
    said(await shop.post("/v1/returns", body, key="k1"), 201)


async def test_the_policy_may_approve_at_once(shop: Shop, with_policy: Any) -> None:
    with_policy(auto_approve_below={"usd": 5000})
    now = datetime.now(UTC).isoformat()
    small = asked(shop.paid(), 4000, purchased_at=now)
    assert said(await shop.post("/v1/returns", small), 201)["state"] == "approved"
    assert said(await shop.post("/v1/returns", asked(shop.paid(), 6000, purchased_at=now)), 201)["state"] == "requested"


async def test_what_the_policy_would_approve_waits_for_people_while_the_payment_is_disputed(
    shop: Shop, with_policy: Any
) -> None:
    with_policy(auto_approve_below={"usd": 5000})
    payment = shop.paid()
    shop.dashboard.open_dispute(said(await shop.post("/v1/returns", asked(payment, 1000)), 201)["charge"])
    await shop.deliver()
    small = asked(payment, 4000, purchased_at=datetime.now(UTC).isoformat())
    made = said(await shop.post("/v1/returns", small), 201)
    assert (made["state"], made["approvals"]) == ("requested", [])
    assert "disputed" in made["barred_actions"]["approve"]


async def test_a_return_is_corrected_while_nobody_has_approved(shop: Shop) -> None:
    made = await shop.requested()
    where = f"/v1/returns/{made['id']}"
    lines = [{"sku": "SHIRT", "quantity": 2, "total_amount": 7000}]
    changed = said(await shop.post(where, {"lines": lines, "reason": "too_small", "metadata": {"x": "y"}}), 200)
    assert (changed["amount_authorized"], changed["reason"], changed["metadata"]) == (7000, "too_small", {"x": "y"})
    said(await shop.post(where, {"lines": [lines[0] | {"total_amount": 10_001}]}), 422, "amount_exceeds_payment")
    said(await shop.post(f"{where}/approve", {"override_reason": "ok"}), 200)
    assert said(await shop.post(where, {"reason": "other"}), 409, "invalid_transition")["state"] == "approved"
    assert said(await shop.post(where, {"internal_note": "seen"}), 200)["internal_note"] == "seen"


async def test_a_version_that_was_not_read_is_not_overwritten(shop: Shop) -> None:
    made = await shop.requested()
    where = f"/v1/returns/{made['id']}"
    version = f'"{made["version"]}"'
    said(await shop.post(where, {"internal_note": "1"}, If_Match=version), 200)
    for stale in (version, "nonsense", 'W/"1"', '"' + "9" * 400 + '"'):
        said(await shop.post(where, {"internal_note": "2"}, If_Match=stale), 412, "version_mismatch")
    assert said(await shop.post(where, {"internal_note": "3"}, If_Match="*"), 200)["internal_note"] == "3"
