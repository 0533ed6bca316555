"""A4: a refund that somebody made in the Stripe Dashboard, and what a person says it was for."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.domain.stripe_objects import TryLater
from returns_service.worker.maintenance import follow_policy_on_holds
from tests.harness.served_shop import ServedShop, expect, return_body
from tests.harness.shop import BY


async def refunded_in_dashboard(
    shop: ServedShop, amount: int = 5000, *, approve: bool = True, **metadata: str
) -> tuple[dict[str, Any], str]:
    """Return an approved return of 50.00 on a payment of 100.00, and the refund that the Dashboard made meanwhile."""
    payment = shop.pay(10_000)
    made = expect(await shop.post("/v1/returns", return_body(payment, 5000, 1)), 201)
    if approve:
        expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
    shop.dashboard.refund(payment, amount, metadata=metadata)
    await shop.deliver()
    found = expect(await shop.get("/v1/refunds?limit=1"), 200)["data"][0]
    assert found["source"] == "external"
    return made, found["id"]


async def kinds(shop: ServedShop) -> list[str]:
    return [item["kind"] for item in expect(await shop.get("/v1/desk"), 200)["data"]]


async def test_an_unassigned_refund_holds_what_the_dock_counts(shop: ServedShop) -> None:
    made, _ = await refunded_in_dashboard(shop)
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    held = await shop.read_return(made["id"])
    assert (held["state"], held["amount_due"], held["amount_refunded"]) == ("approved", 5000, 0)
    barred = held["refund_barred"]
    assert (barred["code"], barred["due"], barred["refundable"]) == ("external_refund_open", 5000, 5000)
    assert "acknowledge" in barred["reason"]
    waiting = expect(await shop.get("/v1/desk"), 200)["data"]
    assert [item["kind"] for item in waiting] == ["external_refund", "refund_barred"]
    assert all("acknowledge it" in item["advice"] for item in waiting), "to settle it outside may pay it twice"
    expect(await shop.post(f"/v1/returns/{made['id']}/refund"), 409, "external_refund_open")


async def test_assigned_it_counts_as_the_returns(shop: ServedShop) -> None:
    made, refund_id = await refunded_in_dashboard(shop)
    await shop.receive_parcel(made["id"], 1)
    answer = expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"]}), 200)
    assert (answer["return"], answer["source"]) == (made["id"], "external")
    assert sum(row["amount"] for row in answer["breakdown"]) == 5000
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_due"], done["amount_refunded"]) == ("refunded", 0, 5000)
    assert len(done["refunds"]) == 1
    assert await kinds(shop) == []


async def test_assigned_before_the_count_nothing_is_paid_again(shop: ServedShop) -> None:
    made, refund_id = await refunded_in_dashboard(shop)
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"]}), 200)
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_due"], len(done["refunds"])) == ("refunded", 0, 1)


async def test_acknowledged_it_is_left_apart_and_what_it_held_goes_on(shop: ServedShop) -> None:
    made, refund_id = await refunded_in_dashboard(shop)
    await shop.receive_parcel(made["id"], 1)
    expect(await shop.post(f"/v1/refunds/{refund_id}/acknowledge", {"reason": "Goodwill by phone."}), 200)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], len(done["refunds"])) == ("refunded", 5000, 1)
    assert await kinds(shop) == []


async def test_an_assignment_moves_and_is_undone(shop: ServedShop) -> None:
    made, refund_id = await refunded_in_dashboard(shop, 2000)
    other = expect(await shop.post("/v1/returns", return_body(made["payment_intent"], 2000, 1)), 201)
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"]}), 200)
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": other["id"]}), 200)
    lower = await shop.read_return(other["id"])
    assert (lower["state"], lower["amount_estimated"], lower["amount_refunded"]) == ("requested", 0, 2000)
    assert (await shop.read_return(made["id"]))["amount_refunded"] == 0
    expect(await shop.post(f"/v1/refunds/{refund_id}/acknowledge", {"reason": "Neither."}), 200)
    assert (await shop.read_return(other["id"]))["amount_refunded"] == 0


async def test_an_unsent_refund_is_held_and_gives_way(shop: ServedShop, with_policy: Any) -> None:
    """A4: `queued` included; assigned, the Dashboard's takes its place."""
    with_policy(refund_delay=3600)
    payment = shop.pay(10_000)
    made = await shop.create_approved_return(5000, 1, payment=payment)
    await shop.receive_parcel(made["id"])
    shop.dashboard.refund(payment, 5000)
    await shop.deliver()
    shop.clock.advance(7200)
    await shop.settle()
    assert (await shop.read_return(made["id"]))["state"] == "refunding"
    assert (shop.at_stripe(payment), await kinds(shop)) == (5000, ["external_refund", "refund_held"])
    refund_id = expect(await shop.get("/v1/refunds?limit=1"), 200)["data"][0]["id"]
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"]}), 200)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], [one["status"] for one in done["refunds"]]) == ("refunded", ["withdrawn", "succeeded"])
    assert (shop.at_stripe(payment), await kinds(shop)) == (5000, [])


@pytest.mark.parametrize("counted", ["before", "after"])
async def test_an_assigned_refund_that_fails_is_paid_once(shop: ServedShop, counted: str) -> None:
    """A4: counted already, it is the return's failed refund; not counted yet, the dock's count pays."""
    made, refund_id = await refunded_in_dashboard(shop)
    if counted == "before":
        await shop.receive_parcel(made["id"])
    refund = expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"]}), 200)
    shop.dashboard.fail(refund["stripe_refund"])
    await shop.deliver()
    if counted == "before":
        assert ((await shop.read_return(made["id"]))["state"], await kinds(shop)) == ("failed", ["refund_failed"])
        expect(await shop.post(f"/v1/returns/{made['id']}/retry"), 202)
    else:
        assert ((await shop.read_return(made["id"]))["state"], await kinds(shop)) == ("approved", [])
        await shop.receive_parcel(made["id"])
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], shop.at_stripe(made["payment_intent"])) == ("refunded", 5000, 5000)


@pytest.mark.parametrize("said", ["fraudulent", "expired_uncaptured_charge"])
async def test_a_retry_gives_the_returns_reason_and_not_the_dashboards(shop: ServedShop, said: str) -> None:
    payment = shop.pay(10_000)
    made = await shop.create_approved_return(5000, 1, payment=payment)
    outside = shop.dashboard.refund(payment, 5000, said)
    await shop.deliver()
    await shop.receive_parcel(made["id"])
    found = expect(await shop.get("/v1/refunds?limit=1"), 200)["data"][0]
    expect(await shop.post(f"/v1/refunds/{found['id']}/assign", {"return": made["id"]}), 200)
    shop.dashboard.fail(outside["id"])
    await shop.deliver()
    again = expect(await shop.post(f"/v1/returns/{made['id']}/retry"), 202)
    await shop.settle()
    assert again["reason"] == "requested_by_customer"
    assert (await shop.read_return(made["id"]))["state"] == "refunded"


async def test_a_request_that_was_paid_outside_is_not_declined(shop: ServedShop) -> None:
    """A4: declined it would hide the refund, and another return of the units would be paid in full."""
    made, refund_id = await refunded_in_dashboard(shop, 2000, approve=False)
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"]}), 200)
    declined = f"/v1/returns/{made['id']}/decline"
    expect(await shop.post(declined, {"reason": "Too late."}), 409, "money_moved")
    assert "decline" in (await shop.read_return(made["id"]))["barred_actions"]
    expect(await shop.post(f"/v1/refunds/{refund_id}/acknowledge", {"reason": "Goodwill."}), 200)
    assert expect(await shop.post(declined, {"reason": "Too late."}), 200)["state"] == "declined"


async def test_named_units_are_paid_and_the_rest_is_goodwill(shop: ServedShop) -> None:
    payment = shop.pay(10_000)
    made = expect(await shop.post("/v1/returns", return_body(payment, 9000, 3)), 201)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
    shop.dashboard.refund(payment, 3500)
    await shop.deliver()
    refund_id = expect(await shop.get("/v1/refunds?limit=1"), 200)["data"][0]["id"]
    line = made["lines"][0]["id"]
    body = {"return": made["id"], "lines": [{"line": line, "units": 1}]}
    rows = expect(await shop.post(f"/v1/refunds/{refund_id}/assign", body), 200)["breakdown"]
    assert [(row["kind"], row["amount"]) for row in rows] == [("line", 3000), ("goodwill", 500)]
    await shop.receive_parcel(made["id"], 3)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"]) == ("refunded", 3500 + 6000)


async def test_metadata_that_names_a_return_assigns_by_itself(shop: ServedShop) -> None:
    payment = shop.pay(10_000)
    made = expect(await shop.post("/v1/returns", return_body(payment, 5000, 1)), 201)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
    shop.dashboard.refund(payment, 5000, metadata={"return_id": made["id"]})
    await shop.deliver()
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], len(done["refunds"])) == ("refunded", 5000, 1)


async def test_a_person_may_override_the_hold(shop: ServedShop) -> None:
    made, _ = await refunded_in_dashboard(shop, 2000)
    await shop.receive_parcel(made["id"], 1)
    expect(await shop.post(f"/v1/returns/{made['id']}/refund", {"override_reason": "That one was for tea."}), 202)
    await shop.settle()
    assert (await shop.read_return(made["id"]))["amount_refunded"] == 5000


async def test_a_policy_may_ignore_them(shop: ServedShop, with_policy: Any) -> None:
    with_policy(external_refunds="ignore")
    made, _ = await refunded_in_dashboard(shop)
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    assert (await shop.read_return(made["id"]))["amount_refunded"] == 5000
    assert await kinds(shop) == []


async def test_an_assignment_beyond_the_returns_worth_is_told(shop: ServedShop) -> None:
    """Told once, whether by a person or by metadata, and gone once somebody has dealt with it."""
    made, refund_id = await refunded_in_dashboard(shop, 7000)
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"]}), 200)
    shown = await shop.read_return(made["id"])
    assert (shown["amount_refunded"], shown["overpaid_amount"]) == (7000, 2000)
    assert await kinds(shop) == ["return_overpaid"]
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    shown = await shop.read_return(made["id"])
    assert (shown["state"], shown["amount_refunded"], shown["overpaid_amount"]) == ("refunded", 7000, 2000)
    expect(await shop.post(f"/v1/returns/{made['id']}/acknowledge", {"reason": "Goodwill."}), 200)
    assert await kinds(shop) == []
    payment = shop.pay()
    other = expect(await shop.post("/v1/returns", return_body(payment, 5000, 1)), 201)
    shop.dashboard.refund(payment, 5001, metadata={"return_id": other["id"]})
    await shop.deliver()
    assert await kinds(shop) == [], "a request may still be declined"
    expect(await shop.post(f"/v1/returns/{other['id']}/approve", {"override_reason": "A test."}), 200)
    assert (await shop.read_return(other["id"]))["overpaid_amount"] == 1
    assert await kinds(shop) == ["return_overpaid"]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_what_is_paid_beside_more_than_a_unit_was_worth_is_told(
    shop: ServedShop, with_policy: Any, by_hand: bool
) -> None:
    """50.00 in the Dashboard were for one unit of 30.00; the other unit is paid as well, and nothing is taken."""
    with_policy(refund_on="manual" if by_hand else "receipt")
    made = await shop.create_approved_return(6000, 2, payment=shop.pay(10_000))
    shop.dashboard.refund(made["payment_intent"], 5000)
    await shop.deliver()
    await shop.receive_parcel(made["id"], 2)
    (found,) = expect(await shop.get("/v1/refunds"), 200)["data"]
    units = [{"line": made["lines"][0]["id"], "units": 1}]
    expect(await shop.post(f"/v1/refunds/{found['id']}/assign", {"return": made["id"], "lines": units}), 200)
    await shop.settle()
    if by_hand:
        cash = {"method": "cash", "reference": "till"}
        expect(await shop.post(f"/v1/returns/{made['id']}/settle_outside", cash), 200)
    assert (await shop.read_return(made["id"]))["overpaid_amount"] == 2000
    assert await kinds(shop) == ["return_overpaid"]


@pytest.mark.parametrize("ends, state", [("fail", "failed"), (None, "refunded")])
async def test_a_request_is_approved_to_where_its_assigned_refund_says(
    shop: ServedShop, with_policy: Any, ends: str | None, state: str
) -> None:
    """It was approved into `approved`, though its assigned refund had failed, or had paid all there is."""
    with_policy(refund_on="approval")
    made, refund_id = await refunded_in_dashboard(shop, 5000, approve=False)
    named = [{"line": made["lines"][0]["id"], "units": 1}]
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"], "lines": named}), 200)
    if ends:
        refund = expect(await shop.get(f"/v1/refunds/{refund_id}"), 200)
        shop.dashboard.fail(refund["stripe_refund"])
        await shop.deliver()
    answer = await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."})
    assert expect(answer, 200)["state"] == state
    assert await kinds(shop) == (["refund_failed"] if ends else [])


async def test_another_policy_holds_or_frees_what_is_there_already(shop: ServedShop, with_policy: Any) -> None:
    """The payment was held until the next news of it, which may never come."""
    made, _ = await refunded_in_dashboard(shop)
    await shop.receive_parcel(made["id"], 1)
    assert await kinds(shop) == ["external_refund", "refund_barred"]
    with_policy(external_refunds="ignore")
    assert [await follow_policy_on_holds(shop.db, BY, shop.policy) for _ in range(2)] == [1, 0]
    assert (await shop.read_return(made["id"]))["state"] == "refunding"
    assert await kinds(shop) == []
    with_policy(external_refunds="hold")
    assert [await follow_policy_on_holds(shop.db, BY, shop.policy) for _ in range(2)] == [1, 0]
    assert await kinds(shop) == ["external_refund", "refund_held"]


async def test_what_cannot_be_assigned_is_said(shop: ServedShop) -> None:
    made, refund_id = await refunded_in_dashboard(shop)
    elsewhere = await shop.create_approved_return()
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": elsewhere["id"]}), 422, "payment_mismatch")
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": "ret_none"}), 404, "not_found")
    lines = [{"line": made["lines"][0]["id"], "units": 9}]
    twice = [lines[0] | {"units": 1}] * 2  # of a line of one unit: each is no more than it has
    for some in (lines, twice, []):
        expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"], "lines": some}), 422)
    expect(await shop.post(f"/v1/returns/{made['id']}/cancel", {"reason": "Kept."}), 200)
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"]}), 409, "invalid_transition")


async def test_a_named_reason_of_a_standalone_refund_stays_in_its_breakdown(shop: ServedShop) -> None:
    """A4, B7: what overrides the hold is kept, beside the note."""
    made, _ = await refunded_in_dashboard(shop)
    body = {"payment_intent": made["payment_intent"], "amount": 100, "note": "By phone."}
    expect(await shop.post("/v1/refunds", body), 409, "external_refund_open")
    refund = expect(await shop.post("/v1/refunds", body | {"override_reason": "Both are owed."}), 202)
    assert (refund["note"], refund["breakdown"][0]["description"]) == ("By phone.", "Both are owed.")


async def test_b4_goodwill_after_all_is_refunded(shop: ServedShop) -> None:
    """B4: goodwill on a refunded return goes through it, with its reason."""
    made = await shop.create_approved_return(6000, 1, payment=shop.pay(10_000))
    where = f"/v1/returns/{made['id']}"
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    extra = {"adjustments": [{"kind": "goodwill", "amount": 500, "description": "Sorry for the delay."}]}
    expect(await shop.post(f"{where}/refund", extra), 422, "override_required")
    expect(await shop.post(f"{where}/refund", {**extra, "override_reason": "The parcel was late."}), 202)
    assert (await shop.read_return(made["id"]))["state"] == "refunding"
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"]) == ("refunded", 6500)


async def test_a_refund_refused_for_now_is_not_sent_after_another_was_assigned(
    shop: ServedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: somebody refunds and assigns while our call is under way; refused for now, ours must not be tried again."""
    payment = shop.pay(10_000)
    made = expect(await shop.post("/v1/returns", return_body(payment, 5000, 1)), 201)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
    await shop.receive_parcel(made["id"], 1)

    async def refuse_while_others_act(*_: Any, **__: Any) -> TryLater:
        monkeypatch.undo()
        shop.dashboard.refund(payment, 5000)
        await shop.deliver()
        found = expect(await shop.get("/v1/refunds?limit=10"), 200)["data"]
        outside = next(refund["id"] for refund in found if refund["source"] == "external")
        expect(await shop.post(f"/v1/refunds/{outside}/assign", {"return": made["id"]}), 200)
        return TryLater("lock_timeout", "Refused for now.")

    monkeypatch.setattr(shop.gateway, "create_refund", refuse_while_others_act)
    await shop.settle()
    shop.clock.advance(3600)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"]) == ("refunded", 5000)
    assert sum(refund["amount"] for refund in shop.ledger.refunds) == 5000


async def test_what_it_paid_of_a_request_counts_when_the_lines_are_corrected(shop: ServedShop) -> None:
    """Its units are named by lines that are gone then: their money was paid once more."""
    made, refund_id = await refunded_in_dashboard(shop, 5000, approve=False)
    units = [{"line": made["lines"][0]["id"], "units": 1}]
    expect(await shop.post(f"/v1/refunds/{refund_id}/assign", {"return": made["id"], "lines": units}), 200)
    lines = [{"sku": "SHIRT", "quantity": 1, "total_amount": 6000}]
    changed = expect(await shop.post(f"/v1/returns/{made['id']}", {"lines": lines}), 200)
    assert (changed["amount_estimated"], changed["amount_refunded"]) == (1000, 5000)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], done["overpaid_amount"]) == ("refunded", 6000, 0)
    assert shop.at_stripe(made["payment_intent"]) == 6000


async def test_a_failed_one_that_names_a_return_changes_nothing_there(shop: ServedShop) -> None:
    """First heard of when it has failed already: what the service has queued is still to be paid."""
    payment = shop.pay(10_000)
    made = expect(await shop.post("/v1/returns", return_body(payment, 5000, 1)), 201)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
    await shop.receive_parcel(made["id"], 1)
    refund = shop.dashboard.refund(payment, 2000, metadata={"return_id": made["id"]})
    shop.dashboard.fail(refund["id"], "expired_or_canceled_card")
    shop.lose_webhooks()
    queued = (await shop.read_return(made["id"]))["refunds"][0]["id"]
    assert expect(await shop.post(f"/v1/refunds/{queued}/check"), 200)["status"] == "queued"
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (done["state"], done["amount_refunded"], len(done["refunds"])) == ("refunded", 5000, 1)
    assert await kinds(shop) == []


async def test_assigned_elsewhere_it_leaves_open_what_it_had_settled(shop: ServedShop) -> None:
    """It had paid a part of a failed refund of no return, which nobody would ask about any more."""
    made, _ = await refunded_in_dashboard(shop, 1000)
    payment = made["payment_intent"]
    body = {"payment_intent": payment, "amount": 3000, "override_reason": "A test."}
    alone = expect(await shop.post("/v1/refunds", body), 202)["id"]
    await shop.settle()
    at_stripe = expect(await shop.get(f"/v1/refunds/{alone}"), 200)["stripe_refund"]
    shop.dashboard.fail(at_stripe, "expired_or_canceled_card")
    parts = []
    for amount in (1000, 2000):
        again = shop.dashboard.refund(payment, amount)["id"]
        await shop.deliver()
        settle = {"method": "dashboard_refund", "reference": again}
        parts.append(expect(await shop.post(f"/v1/refunds/{alone}/settle_outside", settle), 200)["id"])
    assert expect(await shop.get(f"/v1/refunds/{alone}"), 200)["superseded_by"] == parts[1]
    expect(await shop.post(f"/v1/refunds/{parts[0]}/acknowledge", {"reason": "Said twice."}), 200)
    expect(await shop.post(f"/v1/refunds/{parts[1]}/assign", {"return": made["id"]}), 200)
    left = expect(await shop.get(f"/v1/refunds/{alone}"), 200)
    assert (left["amount_open"], left["superseded_by"]) == (2000, None)
    assert "refund_failed" in await kinds(shop)
