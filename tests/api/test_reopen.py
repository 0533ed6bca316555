"""B9: a request or a return that was ended by mistake is reopened, and expects its units again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.test_external_refunds import kinds
from tests.harness.served_shop import ServedShop, expect, return_body


@pytest.mark.parametrize("road", ["decline", "cancel"])
async def test_b9_a_request_ended_by_mistake_is_reopened(shop: ServedShop, road: str) -> None:
    """B9: declined or canceled, it is requested again, its approvals anew."""
    made = await (shop.create_return() if road == "decline" else shop.create_approved_return())
    where = f"/v1/returns/{made['id']}"
    expect(await shop.post(f"{where}/{road}", {"reason": "By mistake."}), 200)
    again = expect(await shop.post(f"{where}/reopen", {"reason": "That was a mistake."}), 200)
    assert (again["state"], again["approvals"]) == ("requested", [])
    expect(await shop.post(f"{where}/reopen", {"reason": "Twice."}), 409, "invalid_transition")


async def test_b9_a_request_whose_units_are_elsewhere_by_now_stays_ended(shop: ServedShop) -> None:
    """B9: what has been returned otherwise meanwhile can't come back twice."""
    line = {"sku": "SHIRT", "quantity": 1, "total_amount": 5000, "order_line": "1", "quantity_ordered": 1}
    payment = shop.pay()
    first = expect(await shop.post("/v1/returns", return_body(payment, lines=[line])), 201)
    expect(await shop.post(f"/v1/returns/{first['id']}/decline", {"reason": "No."}), 200)
    expect(await shop.post("/v1/returns", return_body(payment, lines=[line])), 201)
    answer = await shop.post(f"/v1/returns/{first['id']}/reopen", {"reason": "Yes."})
    expect(answer, 422, "units_already_returned")


async def test_b9_a_reopened_request_goes_by_the_number_ordered_on_record(shop: ServedShop) -> None:
    """B6, B9: another return of the order has told it meanwhile; a request that told another one stays ended."""
    line: dict[str, Any] = {"sku": "SHIRT", "quantity": 1, "total_amount": 1000, "order_line": "1"}
    payment, ended = shop.pay(), []
    for told in ({}, {"quantity_ordered": 3}):
        made = expect(await shop.post("/v1/returns", return_body(payment, lines=[line | told])), 201)
        expect(await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "No."}), 200)
        ended.append(f"/v1/returns/{made['id']}/reopen")
    expect(await shop.post("/v1/returns", return_body(payment, lines=[line | {"quantity_ordered": 2}])), 201)
    again = expect(await shop.post(ended[0], {"reason": "Yes."}), 200)
    assert [row["quantity_ordered"] for row in again["lines"]] == [2]
    problem = expect(await shop.post(ended[1], {"reason": "Yes."}), 422, "quantity_ordered_differs")
    assert problem["quantity_ordered"] == 2


async def test_b9_a_closed_return_expects_its_units_again(shop: ServedShop) -> None:
    """B9: a close is taken back, and the state is by the rule."""
    made = await shop.create_approved_return()
    where = f"/v1/returns/{made['id']}"
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    closed = expect(await shop.post(f"{where}/close", {"reason": "The rest is not coming."}), 200)
    assert (closed["state"], closed["closed_at"] is None) == ("refunded", False)
    again = expect(await shop.post(f"{where}/reopen", {"reason": "It came."}), 200)
    assert (again["state"], again["closed_at"]) == ("approved", None)
    await shop.receive_parcel(made["id"], 2)
    await shop.settle()
    assert (await shop.read_return(made["id"]))["amount_refunded"] == 10_000


async def test_b9_units_that_came_after_the_closing_are_paid_once_it_is_reopened(shop: ServedShop) -> None:
    """B9, C4: what came meanwhile waited on the desk; open again, nothing is forgotten."""
    made = await shop.create_approved_return(9000, 3)
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    expect(await shop.post(f"/v1/returns/{made['id']}/close", {"reason": "It took a month."}), 200)
    await shop.receive_parcel(made["id"], 2)
    await shop.settle()
    late = await shop.read_return(made["id"])
    assert (late["state"], late["amount_due"], late["amount_refunded"]) == ("refunded", 0, 3000)
    assert await kinds(shop) == ["return_to_decide"]
    opened = expect(await shop.post(f"/v1/returns/{made['id']}/reopen", {"reason": "They came."}), 200)
    assert (opened["state"], opened["amount_due"]) == ("refunding", 0)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], await kinds(shop)) == ("refunded", 9000, [])
