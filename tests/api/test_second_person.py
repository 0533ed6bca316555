"""B3: one person decides no more than the policy lets them, whichever way money is decided; then a second one agrees.

Seen before: `refund {amount: 500000}` on a return of 900, five returns just below the limit on one payment, a second
key of the same person. Amounts in minor units; the limit is 1000.
"""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from returns_service.commands.api_keys import create_key
from tests.harness.served_shop import ServedShop, expect

LIMIT, DAY = 1000, 86_400
GOODWILL = {"override_reason": "Goodwill."}


@pytest.fixture(autouse=True)
def limit(with_policy: Any) -> None:
    """One person decides up to 10.00 USD; what is due is paid by hand."""
    with_policy(second_person_above={"usd": LIMIT}, refund_on="manual")


@pytest.fixture
async def keys(shop: ServedShop) -> dict[str, str]:
    """The secrets of two keys of Mara's, and of one of Jide's."""
    async with shop.db.transaction() as tx:
        owners = {"mara": "mara@shop.test", "mara again": "Mara@shop.test", "jide": "jide@shop.test"}
        return {name: (await create_key(tx, name, ["admin"], owner=email))[1] for name, email in owners.items()}


@pytest.fixture
def as_(shop: ServedShop, keys: dict[str, str]) -> Any:
    """Return a function that posts with somebody's key."""

    async def post(name: str, path: str, body: Any = None) -> httpx.Response:
        return await shop.post(path, body, Authorization=f"Bearer {keys[name]}")

    return post


async def approved(shop: ServedShop, as_: Any, amount: int = 900, **more: Any) -> dict[str, Any]:
    """Return a return of one unit that Mara approved alone."""
    made = await shop.create_return(amount, 1, **more)
    answer = expect(await as_("mara", f"/v1/returns/{made['id']}/approve", {"override_reason": "ok"}), 200)
    assert answer["state"] == "approved"
    return answer


def sent(shop: ServedShop) -> list[int]:
    return sorted(refund["amount"] for refund in shop.ledger.refunds)


def assert_waits(refund: dict[str, Any]) -> None:
    assert (refund["status"], refund["waiting_code"], refund["next_attempt_at"]) == ("queued", "second_person", None)


async def test_b3_a_refund_above_due_waits_for_a_second_person(shop: ServedShop, as_: Any) -> None:
    made = await approved(shop, as_, payment=shop.pay(1_000_000))
    refund = expect(await as_("mara", f"/v1/returns/{made['id']}/refund", {"amount": 500_000, **GOODWILL}), 202)
    assert_waits(refund)
    shop.clock.advance(3 * DAY)
    await shop.settle()
    assert sent(shop) == []
    (item,) = expect(await shop.get("/v1/desk?kind=second_person"), 200)["data"]
    assert (item["refund"], item["code"], item["actions"]) == (refund["id"], "second_person", ["approve", "cancel"])
    where = f"/v1/refunds/{refund['id']}/approve"
    for name in ("mara", "mara again"):
        expect(await as_(name, where), 409, "second_person_required")
    no_scope = await shop.create_key("refunds:write")
    expect(await shop.post(where, Authorization=f"Bearer {no_scope}"), 403, "insufficient_scope")
    agreed = expect(await as_("jide", where, {"note": "Agreed."}), 200)
    assert (agreed["waiting_code"], agreed["approved_at"] is not None) == (None, True)
    expect(await as_("jide", where), 409, "refund_not_unapproved")
    await shop.settle()
    assert sent(shop) == [500_000]
    assert expect(await shop.get("/v1/desk?kind=second_person"), 200)["data"] == []
    told = expect(await shop.get("/v1/events?type=refund.approved"), 200)["data"]
    assert [(event["refund"], event["return"], event["data"]["note"]) for event in told] == [
        (refund["id"], made["id"], "Agreed.")
    ]


async def test_b3_what_is_due_inside_an_approved_estimate_is_not_decided_again(shop: ServedShop, as_: Any) -> None:
    made = await approved(shop, as_, LIMIT)
    await shop.receive_parcel(made["id"])
    refund = expect(await as_("mara", f"/v1/returns/{made['id']}/refund"), 202)
    assert refund["waiting_code"] is None
    await shop.settle()
    assert sent(shop) == [LIMIT]


async def test_b3_five_returns_just_below_the_limit_are_one_decision(shop: ServedShop, as_: Any) -> None:
    payment = shop.pay(10_000)
    first = await approved(shop, as_, payment=payment)
    second = await shop.create_return(900, 1, payment=payment, order_id="order_2")
    where = f"/v1/returns/{second['id']}/approve"
    waits = expect(await as_("mara", where, {"override_reason": "ok"}), 200)
    assert (waits["state"], waits["approvals_required"]) == ("requested", 2)
    expect(await as_("mara again", where, {"override_reason": "ok"}), 409, "second_person_required")
    assert expect(await as_("jide", where, {"override_reason": "ok"}), 200)["state"] == "approved"
    # What two agreed about counts no more, and what was decided long ago neither.
    fits = expect(await as_("mara", "/v1/refunds", {"payment_intent": payment, "amount": 100}), 202)
    assert fits["waiting_code"] is None
    assert_waits(expect(await as_("mara", "/v1/refunds", {"payment_intent": payment, "amount": 1}), 202))
    shop.clock.advance(31 * DAY)
    third = await shop.create_return(LIMIT, 1, payment=payment, order_id="order_3")
    answer = await as_("mara", f"/v1/returns/{third['id']}/approve", {"override_reason": "ok"})
    assert expect(answer, 200)["state"] == "approved"
    assert (await shop.read_return(first["id"]))["state"] == "approved"


async def test_b3_the_policy_approves_nothing_by_itself_beyond_the_limit(
    shop: ServedShop, as_: Any, with_policy: Any
) -> None:
    with_policy(auto_approve_below={"usd": LIMIT})
    payment, bought = shop.pay(10_000), shop.time.isoformat()
    states = [
        (await shop.create_return(600, 1, payment=payment, order_id=f"order_{n}", purchased_at=bought))["state"]
        for n in range(3)
    ]
    assert states == ["approved", "requested", "requested"]


async def test_b3_standalone_refunds_of_a_payment_are_summed(shop: ServedShop, as_: Any) -> None:
    payment = shop.pay(10_000)
    first = expect(await as_("mara", "/v1/refunds", {"payment_intent": payment, "amount": 600}), 202)
    assert first["waiting_code"] is None
    second = expect(await as_("mara again", "/v1/refunds", {"payment_intent": payment, "amount": 401}), 202)
    assert_waits(second)
    other = expect(await as_("mara", "/v1/refunds", {"payment_intent": shop.pay(10_000), "amount": LIMIT}), 202)
    assert other["waiting_code"] is None
    everything = expect(await as_("mara", "/v1/refunds", {"payment_intent": payment}), 202)
    assert_waits(everything)


async def test_b3_a_refund_that_nobody_agreed_to_is_not_sent_by_a_retry(shop: ServedShop, as_: Any) -> None:
    payment = shop.pay(10_000)
    refund = expect(await as_("mara", "/v1/refunds", {"payment_intent": payment, "amount": 5000}), 202)
    canceled = expect(await as_("mara", f"/v1/refunds/{refund['id']}/cancel"), 200)
    assert (canceled["status"], canceled["waiting_code"]) == ("withdrawn", None)
    expect(await as_("jide", f"/v1/refunds/{refund['id']}/approve"), 409, "refund_not_unapproved")
    part = expect(await as_("mara", f"/v1/refunds/{refund['id']}/retry", {"amount": 900}), 202)
    assert part["waiting_code"] is None, "a decision of its own, within the limit"
    rest = expect(await as_("mara", f"/v1/refunds/{refund['id']}/retry"), 202)
    assert (rest["amount"], rest["waiting_code"]) == (4100, "second_person")


@pytest.mark.parametrize("standalone", [True, False])
async def test_b3_a_retry_for_more_is_decided_anew_and_its_parts_are_not(
    shop: ServedShop, as_: Any, standalone: bool
) -> None:
    payment = shop.pay(100_000)
    if standalone:
        refund = expect(await as_("mara", "/v1/refunds", {"payment_intent": payment, "amount": 900}), 202)
    else:
        made = await approved(shop, as_, payment=payment)
        await shop.receive_parcel(made["id"])
        refund = expect(await as_("mara", f"/v1/returns/{made['id']}/refund"), 202)
    expect(await as_("mara", f"/v1/refunds/{refund['id']}/cancel"), 200)
    where = f"/v1/refunds/{refund['id']}/retry"
    part = expect(await as_("mara", where, {"amount": 300}), 202)
    assert part["waiting_code"] is None
    await shop.settle()
    more = expect(await as_("mara", where, {"amount": 5000, **GOODWILL}), 202)
    assert_waits(more)
    await shop.settle()
    assert sent(shop) == [300]
    expect(await as_("jide", f"/v1/refunds/{more['id']}/approve"), 200)
    await shop.settle()
    assert sent(shop) == [300, 5000]


@pytest.mark.parametrize("seed", range(3))
async def test_b3_whatever_one_person_does_no_more_than_the_limit_moves(shop: ServedShop, as_: Any, seed: int) -> None:
    """Beyond what is due inside the approved estimate, which is decided with the approval."""
    dice = random.Random(seed)
    payment = shop.pay(100_000)
    made = await approved(shop, as_, 400, payment=payment)
    await shop.receive_parcel(made["id"])
    for _ in range(14):
        refunds = expect(await shop.get("/v1/refunds?limit=100"), 200)["data"]
        name, amount = dice.choice(["mara", "mara again"]), dice.choice([50, 200, 350, 2000])
        act = dice.choice(["standalone", "refund", "cancel", "retry", "retry", "approve"])
        one = dice.choice(refunds)["id"] if refunds else "rfd_x"
        paths = {"standalone": "/v1/refunds", "refund": f"/v1/returns/{made['id']}/refund"}
        bodies = {
            "standalone": {"payment_intent": payment, "amount": amount}, "refund": {"amount": amount, **GOODWILL},
            "retry": {"amount": amount, **GOODWILL},
        }  # fmt: skip
        answer = await as_(name, paths.get(act, f"/v1/refunds/{one}/{act}"), bodies.get(act))
        assert answer.status_code < 500, answer.text
        if dice.random() < 0.4:
            await shop.settle()
    await shop.settle()
    assert sum(sent(shop)) <= LIMIT
