"""Asking for a return: on which payment, for how much, and what bars it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.served_shop import ServedShop, expect, return_body


async def test_a_return_says_where_it_is_and_which_version(shop: ServedShop) -> None:
    answer = await shop.post(
        "/v1/returns", return_body(shop.pay(), customer_email="c@example.com", metadata={"a": "b"})
    )
    made = expect(answer, 201)
    assert answer.headers["location"] == f"/v1/returns/{made['id']}"
    assert answer.headers["etag"] == f'"{made["version"]}"'
    assert (made["object"], made["livemode"], made["metadata"]) == ("return", False, {"a": "b"})
    read = await shop.get(answer.headers["location"])
    assert (expect(read, 200), read.headers["etag"]) == (made, answer.headers["etag"])


async def test_a_charge_names_its_payment_too(shop: ServedShop) -> None:
    payment = shop.pay()
    intent = shop.ledger.payment_intents[payment]
    by_charge = expect(await shop.post("/v1/returns", return_body(..., charge=intent["latest_charge"])), 201)
    both = expect(await shop.post("/v1/returns", return_body(payment, charge=intent["latest_charge"])), 201)
    assert by_charge["payment"] == both["payment"]
    assert by_charge["payment_intent"] == payment


async def test_a_charge_of_another_payment_is_refused(shop: ServedShop) -> None:
    other = shop.ledger.payment_intents[shop.pay()]["latest_charge"]
    expect(await shop.post("/v1/returns", return_body(shop.pay(), charge=other)), 422, "charge_mismatch")
    assert (await shop.count_rows())["ReturnAuthorization"] == 0


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
    shop: ServedShop, change: dict[str, Any], status: int, code: str
) -> None:
    named: dict[str, Any] = {"payment": shop.pay(10_000), "amount": 10_000} | change
    body = return_body(named.pop("payment"), named.pop("amount"), **named)
    expect(await shop.post("/v1/returns", body), status, code)
    rows = await shop.count_rows()
    assert (rows["ReturnAuthorization"], rows["Event"], rows["IdempotencyKey"]) == (0, 0, 0)


async def test_a_payment_that_did_not_succeed_is_refused(shop: ServedShop) -> None:
    declined = shop.pay(card="pm_card_visa_chargeDeclined")
    expect(await shop.post("/v1/returns", return_body(declined)), 422, "payment_not_succeeded")


async def test_a_refund_of_nothing_at_stripe_bars_nothing(shop: ServedShop) -> None:
    payment = shop.pay()
    shop.dashboard.refund(payment, 500)
    next(iter(shop.ledger.refunds))["amount"] = 0
    expect(await shop.post("/v1/returns", return_body(payment, 4000)), 201)


async def test_no_unit_goes_into_two_returns(shop: ServedShop) -> None:
    payment = shop.pay()

    def units(quantity: int) -> dict[str, Any]:
        line = {"sku": "A", "quantity": quantity, "total_amount": 100, "order_line": "l1", "quantity_ordered": 3}
        return return_body(payment) | {"lines": [line]}

    first = expect(await shop.post("/v1/returns", units(2)), 201)
    problem = expect(await shop.post("/v1/returns", units(2)), 422, "units_already_returned")
    assert problem["returns"] == [first["id"]]
    expect(await shop.post("/v1/returns", units(1)), 201)


def of_order(payment: str, *lines: dict[str, Any], order_id: str = "o1") -> dict[str, Any]:
    """Return the body that asks for lines of an order, each one unit of `l1` unless it says otherwise."""
    line = {"sku": "A", "quantity": 1, "total_amount": 100, "order_line": "l1"}
    return return_body(payment, order_id=order_id) | {"lines": [line | more for more in lines]}


async def test_more_units_than_were_ordered_are_refused(shop: ServedShop) -> None:
    """B6: `quantity 3, quantity_ordered 1`, with and without an order line."""
    for line in ({"order_line": None}, {}):
        body = of_order(shop.pay(), line | {"quantity": 3, "quantity_ordered": 1})
        problem = expect(await shop.post("/v1/returns", body), 422, "quantity_exceeds_ordered")
        assert (problem["param"], problem["quantity_ordered"]) == ("lines[0].quantity", 1)
    made = await shop.create_return()
    lines = of_order("", {"quantity": 3, "quantity_ordered": 1})["lines"]
    expect(await shop.post(f"/v1/returns/{made['id']}", {"lines": lines}), 422, "quantity_exceeds_ordered")


async def test_two_lines_of_one_order_line_say_one_number(shop: ServedShop) -> None:
    """B6: two lines of one `order_line` with different `quantity_ordered`."""
    body = of_order(shop.pay(), {"quantity_ordered": 2}, {"quantity_ordered": 3})
    problem = expect(await shop.post("/v1/returns", body), 422, "quantity_ordered_differs")
    assert (problem["param"], problem["quantity_ordered"]) == ("lines[1].quantity_ordered", 2)
    made = expect(await shop.post("/v1/returns", of_order(shop.pay(), {"quantity_ordered": 2}, {})), 201)
    assert [line["quantity_ordered"] for line in made["lines"]] == [2, 2]


async def test_the_number_ordered_is_kept_and_holds_for_later_returns(shop: ServedShop) -> None:
    """B6: a later return that leaves it out; one on another payment of the order; ids trimmed."""
    first = expect(await shop.post("/v1/returns", of_order(shop.pay(), {"quantity_ordered": 2})), 201)
    spaced = of_order(shop.pay(), {"order_line": " l1\t", "sku": " A\u00a0"}, order_id=" o1 ")
    second = expect(await shop.post("/v1/returns", spaced), 201)
    line = second["lines"][0]
    assert (second["order_id"], line["order_line"], line["sku"], line["quantity_ordered"]) == ("o1", "l1", "A", 2)
    problem = expect(await shop.post("/v1/returns", of_order(shop.pay(), {})), 422, "units_already_returned")
    assert (problem["quantity"], problem["quantity_ordered"]) == (3, 2)
    assert problem["returns"] == [first["id"], second["id"]]
    more = of_order(shop.pay(), {"quantity_ordered": 9})
    expect(await shop.post("/v1/returns", more), 422, "quantity_ordered_differs")
    expect(await shop.post("/v1/returns", of_order(shop.pay(), {"quantity_ordered": 9}, order_id="o2")), 201)
    for made in (first, second):
        expect(await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "A mistake."}), 200)
    expect(await shop.post("/v1/returns", more), 201)


async def test_the_number_ordered_outlives_a_correction_of_the_lines(shop: ServedShop) -> None:
    """B6: lines that take the place of others and leave it out; one that tells another number is believed."""
    payment = shop.pay()
    made = expect(await shop.post("/v1/returns", of_order(payment, {"quantity_ordered": 3})), 201)
    where, lines = f"/v1/returns/{made['id']}", of_order("", {"quantity": 2})["lines"]
    assert expect(await shop.post(where, {"lines": lines}), 200)["lines"][0]["quantity_ordered"] == 3
    expect(await shop.post("/v1/returns", of_order(payment, {"quantity": 2})), 422, "units_already_returned")
    four = of_order("", {"quantity": 4})["lines"]
    expect(await shop.post(where, {"lines": four}), 422, "quantity_exceeds_ordered")
    other = of_order("", {"quantity": 2, "quantity_ordered": 5}, {})["lines"]
    corrected = expect(await shop.post(where, {"lines": other}), 200)
    assert [line["quantity_ordered"] for line in corrected["lines"]] == [5, 5]


async def test_stripe_down_means_later_and_nothing_stored(shop: ServedShop) -> None:
    body, shop.wire.down = return_body(shop.pay()), True
    answer = await shop.post("/v1/returns", body, key="k1")
    expect(answer, 503, "stripe_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert set((await shop.count_rows()).values()) == {0}
    shop.wire.down = False
    expect(await shop.post("/v1/returns", body, key="k1"), 201)


async def test_the_policy_may_approve_at_once(shop: ServedShop, with_policy: Any) -> None:
    with_policy(auto_approve_below={"usd": 5000})
    now = shop.time.isoformat()
    small = return_body(shop.pay(), 4000, purchased_at=now)
    assert expect(await shop.post("/v1/returns", small), 201)["state"] == "approved"
    large = return_body(shop.pay(), 6000, purchased_at=now)
    assert expect(await shop.post("/v1/returns", large), 201)["state"] == "requested"


async def test_what_the_policy_would_approve_waits_for_people_while_the_payment_is_disputed(
    shop: ServedShop, with_policy: Any
) -> None:
    with_policy(auto_approve_below={"usd": 5000})
    payment = shop.pay()
    shop.dashboard.open_dispute(expect(await shop.post("/v1/returns", return_body(payment, 1000)), 201)["charge"])
    await shop.deliver()
    small = return_body(payment, 4000, purchased_at=shop.time.isoformat())
    made = expect(await shop.post("/v1/returns", small), 201)
    assert (made["state"], made["approvals"]) == ("requested", [])
    assert "disputed" in made["barred_actions"]["approve"]


async def test_a_return_is_corrected_while_nobody_has_approved(shop: ServedShop) -> None:
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}"
    lines = [{"sku": "SHIRT", "quantity": 2, "total_amount": 7000}]
    changed = expect(await shop.post(where, {"lines": lines, "reason": "too_small", "metadata": {"x": "y"}}), 200)
    assert (changed["amount_authorized"], changed["reason"], changed["metadata"]) == (7000, "too_small", {"x": "y"})
    expect(await shop.post(where, {"lines": [lines[0] | {"total_amount": 10_001}]}), 422, "amount_exceeds_payment")
    expect(await shop.post(f"{where}/approve", {"override_reason": "ok"}), 200)
    assert expect(await shop.post(where, {"reason": "other"}), 409, "invalid_transition")["state"] == "approved"
    assert expect(await shop.post(where, {"internal_note": "seen"}), 200)["internal_note"] == "seen"


async def test_a_version_that_was_not_read_is_not_overwritten(shop: ServedShop) -> None:
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}"
    version = f'"{made["version"]}"'
    expect(await shop.post(where, {"internal_note": "1"}, If_Match=version), 200)
    for stale in (version, 'W/"1"', '"' + "9" * 400 + '"'):
        expect(await shop.post(where, {"internal_note": "2"}, If_Match=stale), 412, "version_mismatch")
    assert expect(await shop.post(where, {"internal_note": "3"}, If_Match="*"), 200)["internal_note"] == "3"


async def test_metadata_is_merged_and_an_empty_value_deletes_its_key(shop: ServedShop) -> None:
    made = await shop.create_return(metadata={"a": "1", "b": "2", "empty": ""})
    assert made["metadata"] == {"a": "1", "b": "2"}
    where = f"/v1/returns/{made['id']}"
    changed = expect(await shop.post(where, {"metadata": {"b": "", "c": "3", "missing": ""}}), 200)
    assert changed["metadata"] == {"a": "1", "c": "3"}
    assert expect(await shop.post(where, {"internal_note": "x"}), 200)["metadata"] == {"a": "1", "c": "3"}
    many = {f"k{number}": "v" for number in range(45)}
    assert expect(await shop.post(where, {"metadata": many}), 422, "metadata_invalid")["param"] == "metadata"
    fits = expect(await shop.post(where, {"metadata": many | {"a": ""}}), 200)
    assert len(fits["metadata"]) == 46
