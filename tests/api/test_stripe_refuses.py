"""A8: Stripe refuses the key: said in the answer, in the log, on the desk and by /readyz, until the next success."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from returns_service.domain.stripe_objects import TryLater
from returns_service.store.stripe_refusals import StripeRefusals
from returns_service.stripe_simulator import PERMISSIONS, build_key
from tests.harness.served_shop import ServedShop, expect, return_body
from tests.harness.shop import KEY


def let(shop: ServedShop, *, without: str = "none", status: Any = "active") -> None:
    """Give the service's key this status, and all permissions but those that begin so."""
    shop.ledger.api_keys[KEY] = build_key([p for p in PERMISSIONS if not p.startswith(without)], status)


async def refusals(shop: ServedShop) -> list[dict[str, Any]]:
    desk = expect(await shop.get("/v1/desk?kind=stripe_refuses"), 200)
    assert desk["totals"]["stripe_refuses"] == len(desk["data"])
    return list(desk["data"])


@pytest.mark.parametrize(
    "refused,sentence,subject",
    [
        ({"status": "expired"}, "Expired API Key provided", "key"),
        ({"status": "unknown"}, "Invalid API Key provided", "key"),
        ({"without": "rak_payment_intent"}, "Having the 'rak_payment_intent_read' permission", "payment_intents"),
    ],
)
async def test_it_is_said_with_stripes_own_sentence_until_a_success(
    shop: ServedShop, refused: dict[str, str], sentence: str, subject: str
) -> None:
    """A8: on the desk though the request that met it left nothing."""
    payment = shop.pay()
    let(shop, **refused)
    with capture_logs() as logs:
        problem = expect(await shop.post("/v1/returns", return_body(payment)), 503, "stripe_refuses_us")
    assert sentence in problem["detail"]
    assert any(sentence in line.get("message", "") for line in logs)
    (item,) = await refusals(shop)
    assert item["id"] == f"stripe_refuses:{subject}"
    assert sentence in item["message"]
    ready = expect(await shop.get("/readyz"), 200)
    assert (ready["status"], [w["what"] for w in ready["warnings"]]) == ("ready", ["stripe_refuses"])
    expect(await shop.get(f"/v1/payments/{payment}"), 503, "stripe_refuses_us")
    assert (await shop.count_rows())["ReturnAuthorization"] == 0
    let(shop)
    expect(await shop.post("/v1/returns", return_body(payment)), 201)
    assert await refusals(shop) == []
    assert expect(await shop.get("/readyz"), 200) == {"status": "ready", "missing": []}


async def test_a_missing_permission_is_not_struck_off_by_another_kind_of_call(shop: ServedShop) -> None:
    """A8: refunds go out all the same; the desk keeps saying that disputes can't be read."""
    disputed = shop.pay()
    shop.dashboard.open_dispute(disputed)
    let(shop, without="rak_dispute")
    expect(await shop.post("/v1/returns", return_body(disputed)), 503, "stripe_refuses_us")
    expect(await shop.post("/v1/returns", return_body(shop.pay())), 201)
    assert [item["id"] for item in await refusals(shop)] == ["stripe_refuses:disputes"]
    let(shop)
    await shop.post("/v1/returns", return_body(disputed))
    assert await refusals(shop) == []


async def test_a_worker_whose_key_is_refused_says_so_before_ten_failures(shop: ServedShop) -> None:
    """A8: the first refused refund is enough."""
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"], 3)
    let(shop, without="rak_charge_write")
    await shop.work()
    (item,) = await refusals(shop)
    assert "rak_charge_write" in item["message"]
    let(shop)
    for _ in range(3):
        shop.advance(400)
        await shop.settle()
    assert await refusals(shop) == []
    assert (await shop.read_return(made["id"]))["state"] == "refunded"


async def test_a_refusal_met_again_after_another_process_struck_it_off_is_kept(shop: ServedShop) -> None:
    """A8: two webs share one table."""
    ours, theirs = (StripeRefusals(shop.db) for _ in range(2))
    refusal = TryLater("permission", "No.", everyone=True, refuses_us=True)
    await ours.note("events", refusal)
    await theirs.note("events", None)
    assert await refusals(shop) == []
    await ours.note("events", refusal)
    assert [item["id"] for item in await refusals(shop)] == ["stripe_refuses:events"]
