"""Deciding: approve, decline, cancel, close; who may, and what each state allows."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.domain.policy.shapes import Restocking
from tests.harness.served_shop import ServedShop, expect


async def test_approval_takes_the_policy_with_it(shop: ServedShop, with_policy: Any) -> None:
    made = await shop.create_approved_return()
    assert (made["state"], made["approvals"][0]["override_reason"]) == ("approved", "A test.")
    with_policy(refund_on="manual")
    assert (await shop.read_return(made["id"]))["policy"]["refund_on"] == "receipt"


async def test_two_people_approve_what_the_policy_wants_two_for(shop: ServedShop, with_policy: Any) -> None:
    with_policy(second_person_above={"usd": 100})
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}/approve"
    first = expect(await shop.post(where, {"override_reason": "ok"}), 200)
    assert (first["state"], first["approvals_required"]) == ("requested", 2)
    expect(await shop.post(where, {"override_reason": "ok"}), 409, "second_person_required")
    other = await shop.create_key("returns:approve")
    second = await shop.post(where, {"override_reason": "ok"}, Authorization=f"Bearer {other}")
    assert expect(second, 200)["state"] == "approved"


async def test_the_policy_is_overridden_only_with_a_reason(shop: ServedShop, with_policy: Any) -> None:
    with_policy(excluded_skus=("SHI*",))
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}/approve"
    problem = expect(await shop.post(where), 422, "policy_violation")
    assert problem["violations"][0]["message"]
    assert expect(await shop.post(where, {"override_reason": "Damaged in transit."}), 200)["state"] == "approved"


@pytest.mark.parametrize("blank", ["  ", "\r\n", "\u00a0", "\u200b", "\u202e \u200b"])
async def test_a_reason_that_nobody_could_read_is_none(shop: ServedShop, with_policy: Any, blank: str) -> None:
    with_policy(excluded_skus=("SHI*",))
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}"
    bodies = {"approve": {"override_reason": blank}, "decline": {"reason": blank}, "cancel": {"reason": blank}}
    for action, body in bodies.items():
        problem = expect(await shop.post(f"{where}/{action}", body), 422, "invalid_request")
        assert [error["param"] for error in problem["errors"]] == list(body)
    assert expect(await shop.get(where), 200)["version"] == made["version"]
    declined = expect(await shop.post(f"{where}/decline", {"reason": " Too late.\n"}), 200)
    events = expect(await shop.get(f"{where}/events"), 200)["data"]
    assert (declined["state"], events[0]["data"]["reason"]) == ("declined", "Too late.")


async def test_a_declined_return_takes_parcels_or_goes_on_anew(shop: ServedShop) -> None:
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}"
    missing = expect(await shop.post(f"{where}/decline"), 422, "invalid_request")
    assert [error["param"] for error in missing["errors"]] == ["reason"]
    assert expect(await shop.post(f"{where}/decline", {"reason": "Too late."}), 200)["state"] == "declined"
    problem = expect(await shop.post(f"{where}/approve"), 409, "invalid_transition")
    assert (problem["state"], problem["trigger"], problem["allowed"]) == ("declined", "approve", ["receive", "reopen"])


async def test_a_refund_before_approval_says_what_can_be_done_instead(shop: ServedShop) -> None:
    made = await shop.create_return()
    problem = expect(await shop.post(f"/v1/returns/{made['id']}/refund"), 409, "invalid_transition")
    assert (problem["state"], problem["trigger"]) == ("requested", "refund")
    assert {"approve", "decline", "cancel"} <= set(problem["allowed"])
    assert problem["type"] == "/errors/invalid_transition"
    assert expect(await shop.get(problem["type"]), 200)["code"] == "invalid_transition"


async def test_every_public_action_is_available_or_barred_with_a_reason(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    assert set(made["available_actions"]) & set(made["barred_actions"]) == set()
    assert made["barred_actions"]["refund"] == "Nothing received is unpaid."
    assert "receive" in made["available_actions"]


async def test_a_return_whose_units_came_is_canceled_only_with_a_named_reason(
    shop: ServedShop, with_policy: Any
) -> None:
    with_policy(refund_on="manual")
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"], 1)
    where = f"/v1/returns/{made['id']}/cancel"
    expect(await shop.post(where, {"reason": "kept"}), 422, "override_required")
    assert (
        expect(await shop.post(where, {"reason": "kept", "override_reason": "sent back"}), 200)["state"] == "canceled"
    )


async def test_a_return_that_was_paid_in_part_is_closed_not_canceled(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    where = f"/v1/returns/{made['id']}"
    barred = expect(await shop.post(f"{where}/cancel", {"reason": "kept"}), 409, "money_moved")
    assert barred["detail"] == (await shop.read_return(made["id"]))["barred_actions"]["cancel"]
    assert barred["advice"].startswith("Close the return instead."), "it was told at the type's page alone"
    closed = expect(await shop.post(f"{where}/close", {"reason": "The rest is lost."}), 200)
    assert (closed["state"], closed["amount_refunded"]) == ("refunded", 3333)
    assert closed["closed_at"] is not None


async def test_two_returns_of_one_payment_are_not_both_approved_beyond_it(shop: ServedShop) -> None:
    payment = shop.pay(10_000)
    first = await shop.create_return(payment=payment)
    second = await shop.create_return(payment=payment)
    expect(await shop.post(f"/v1/returns/{first['id']}/approve", {"override_reason": "ok"}), 200)
    answer = await shop.post(f"/v1/returns/{second['id']}/approve", {"override_reason": "ok"})
    expect(answer, 422, "amount_exceeds_refundable")


async def test_what_is_allowed_instead_is_what_the_return_says(shop: ServedShop, with_policy: Any) -> None:
    """`allowed` was worked out with the amount and the override of the very request that could not be done."""
    made = await shop.create_approved_return(card="pm_card_refundFail")
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    failed = await shop.read_return(made["id"])
    assert (failed["state"], "retry" in failed["available_actions"]) == ("failed", True)
    huge = {"amount": 999_999, "override_reason": "Goodwill."}
    for action, body in (("refund", huge), ("approve", {"override_reason": "x"}), ("cancel", {"reason": "x"})):
        problem = expect(await shop.post(f"/v1/returns/{made['id']}/{action}", body), 409, "invalid_transition")
        assert problem["allowed"] == failed["available_actions"], action


async def test_both_reasons_of_a_cancellation_or_a_close_are_kept(shop: ServedShop, with_policy: Any) -> None:
    """The reason that is asked for was lost wherever another was given for what would have barred it."""
    with_policy(refund_on="manual")
    canceled, closed = [await shop.create_approved_return(quantity=2) for _ in range(2)]
    for made in (canceled, closed):
        await shop.receive_parcel(made["id"], 1)
    both = {"reason": "She keeps it.", "override_reason": "The hat is ours."}
    expect(await shop.post(f"/v1/returns/{canceled['id']}/cancel", both), 200)
    settled = {"method": "cash", "reference": "1"}
    expect(await shop.post(f"/v1/returns/{closed['id']}/settle_outside", settled), 200)
    expect(await shop.post(f"/v1/returns/{closed['id']}/close", both), 200)
    for made, trigger in ((canceled, "cancel"), (closed, "close")):
        told = expect(await shop.get(f"/v1/returns/{made['id']}/events"), 200)["data"]
        (data,) = [event["data"] for event in told if event["data"].get("trigger") == trigger]
        assert {name: data[name] for name in both} == both, trigger


async def test_another_reason_may_ask_for_another_number_of_people(shop: ServedShop, with_policy: Any) -> None:
    """Above 95.00 two people decide; the fee of a tenth is waived for what is the shop's own fault."""
    with_policy(second_person_above={"usd": 9500}, restocking={"new": Restocking(1000)})
    made = await shop.create_return(reason="too_small")
    assert (made["amount_estimated"], made["approvals_required"]) == (9000, 1)
    corrected = expect(await shop.post(f"/v1/returns/{made['id']}", {"reason": "wrong_item"}), 200)
    assert (corrected["amount_estimated"], corrected["approvals_required"]) == (10_000, 2)
