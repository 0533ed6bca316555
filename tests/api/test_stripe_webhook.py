"""Stripe's webhooks: who may send them, and that one that is stored is answered 200."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import select

from returns_service.store.database import Database
from returns_service.store.tables import StripeEvent
from returns_service.stripe_simulator import Request, answer, signature_of
from tests.harness.clock import NOON
from tests.harness.served_shop import ServedShop, expect
from tests.harness.shop import KEY, SECRET


async def send(shop: ServedShop, body: bytes, signature: str | bytes | None) -> httpx.Response:
    headers = [(b"stripe-signature", signature.encode() if isinstance(signature, str) else signature)]
    sent = [(name, value) for name, value in headers if value is not None]
    return await shop.client.post("/webhooks/stripe", content=body, headers=sent)


def an_event(**more: Any) -> bytes:
    said = {"id": "evt_1", "object": "event", "type": "customer.created", "created": int(NOON.timestamp()),
            "livemode": False, "data": {"object": {"id": "cus_1", "object": "customer"}}} | more  # fmt: skip
    return json.dumps(said).encode()


async def inbox(shop: ServedShop) -> list[tuple[str, str | None]]:
    async with shop.db.reading() as tx:
        return [(row.id, row.outcome) for row in (await tx.exec(select(StripeEvent))).all()]


@pytest.mark.parametrize("kind", ["unsigned", "empty", "nonsense", "other secret", "altered", "old", "not ascii"])
async def test_what_stripe_did_not_sign_is_refused_and_not_kept(shop: ServedShop, kind: str) -> None:
    body, now = an_event(), shop.clock.unix()
    signature = {
        "unsigned": None, "empty": "", "nonsense": "t=x,v1=y", "other secret": signature_of(body, "whsec_" + "b", now),
        "altered": signature_of(body + b" ", SECRET, now), "old": signature_of(body, SECRET, now - 301),
        "not ascii": b"t=1,v1=\xe9",
    }[kind]  # fmt: skip
    expect(await send(shop, body, signature), 400, "invalid_signature")
    assert await inbox(shop) == []


async def test_a_signed_body_that_is_no_event_is_refused(shop: ServedShop) -> None:
    for body in (b"", b"[]", b"{", b"\xff", b'{"id": 1}'):
        expect(await send(shop, body, signature_of(body, SECRET, shop.clock.unix())), 400, "invalid_signature")


async def test_too_long_a_body_is_refused_whether_announced_or_not(shop: ServedShop) -> None:
    body = an_event(pad="x" * 256 * 1024)
    expect(await send(shop, body, signature_of(body, SECRET, shop.clock.unix())), 413, "body_too_large")

    async def pieces() -> Any:
        for _ in range(300):
            yield b"x" * 1024

    expect(await shop.client.post("/webhooks/stripe", content=pieces()), 413, "body_too_large")


async def test_each_event_is_taken_once(shop: ServedShop) -> None:
    body = an_event()
    answers = [expect(await send(shop, body, signature_of(body, SECRET, shop.clock.unix())), 200) for _ in range(2)]
    assert answers == [{"received": True, "outcome": "ignored"}, {"received": True, "outcome": "known"}]
    assert await inbox(shop) == [("evt_1", "ignored")]


async def test_an_event_of_the_other_mode_is_kept_and_changes_nothing(shop: ServedShop) -> None:
    body = an_event(livemode=True)
    assert expect(await send(shop, body, signature_of(body, SECRET, shop.clock.unix())), 200)["outcome"] == "other_mode"


async def test_a_refund_of_nothing_is_no_news(shop: ServedShop) -> None:
    made = await shop.create_return()
    refund = {"id": "re_1", "object": "refund", "amount": 0, "currency": "usd", "charge": made["charge"], "created": 1}
    body = an_event(type="refund.created", data={"object": refund})
    assert expect(await send(shop, body, signature_of(body, SECRET, shop.clock.unix())), 200)["outcome"] == "ignored"


async def test_an_event_nobody_can_fold_is_kept_and_answered_200(shop: ServedShop) -> None:
    body = an_event(type="refund.updated", data={"object": {"id": "re_1", "object": "refund", "amount": "much"}})
    answer = expect(await send(shop, body, signature_of(body, SECRET, shop.clock.unix())), 200)
    assert answer["outcome"] == "failed"
    assert await inbox(shop) == [("evt_1", "failed")]


async def test_without_the_database_stripe_is_asked_to_come_again(shop: ServedShop, tmp_path: Path) -> None:
    body = an_event()
    signature = signature_of(body, SECRET, shop.clock.unix())
    nowhere = f"postgresql://nobody@/gone?host={tmp_path}" if shop.db.postgresql else f"sqlite:///{tmp_path}"
    kept, shop.context.database = shop.db, Database(nowhere, now=shop.clock)
    answer = await send(shop, body, signature)
    expect(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] == "1"
    expect(await shop.get("/v1/returns"), 503, "database_unavailable")
    ready = expect(await shop.get("/readyz"), 503)
    assert [missing["what"] for missing in ready["missing"]] == ["database"]
    assert (await shop.get("/healthz")).status_code == 200
    assert "returns_database_up 0.0" in (await shop.get("/metrics")).text
    await shop.db.close()
    shop.context.database = kept
    expect(await send(shop, body, signature), 200)


async def test_ready_and_figures_with_the_database(shop: ServedShop) -> None:
    assert expect(await shop.get("/readyz"), 200) == {"status": "ready", "missing": []}
    expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay()}), 202)
    text = (await shop.get("/metrics")).text
    assert 'returns_refunds{status="queued"} 1.0' in text
    assert 'returns_http_requests_total{method="POST",route="/v1/refunds",status="202"} 1.0' in text


def refunded_at_stripe(shop: ServedShop, intent: str, amount: int, **metadata: str) -> None:
    """Let Stripe hold a refund that a lost database had sent."""
    form = f"payment_intent={intent}&amount={amount}" + "".join(f"&metadata[{k}]={v}" for k, v in metadata.items())
    headers = {"authorization": f"Bearer {KEY}"}
    assert answer(shop.ledger, Request("POST", "/v1/refunds", "", headers, form.encode())).status == 200


async def test_a_refund_that_was_taken_back_here_and_turns_up_at_stripe_is_on_its_way(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1, card="pm_card_pendingRefund")
    await shop.receive_parcel(made["id"])
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    expect(await shop.post(f"/v1/refunds/{refund['id']}/cancel"), 200)
    refunded_at_stripe(shop, made["payment_intent"], refund["amount"], refund_id=refund["id"])
    await shop.deliver()
    read = await shop.read_return(made["id"])
    assert (read["state"], read["refunds"][0]["status"]) == ("refunding", "pending")
    await shop.settle()
    assert (await shop.read_return(made["id"]))["state"] == "refunded"


async def test_a_return_whose_approval_was_lost_keeps_the_policy_it_is_adopted_under(
    shop: ServedShop, with_policy: Any
) -> None:
    with_policy(refund_on="manual", label_cost={"usd": 700})
    made = await shop.create_return(quantity=2, card="pm_card_pendingRefund")
    lost = {
        "refund_id": "rfd_01m88f6zbse4gte02xzmaqfh3c",
        "return_id": made["id"],
        "lines": "line:0:1:5000;label::0:-700",
    }
    refunded_at_stripe(shop, made["payment_intent"], 4300, **lost)
    await shop.deliver()
    await shop.receive_parcel(made["id"], 2)
    with_policy(refund_on="receipt", label_cost={})
    await shop.settle()
    read = await shop.read_return(made["id"])
    assert [(refund["amount"], refund["status"]) for refund in read["refunds"]] == [(4300, "succeeded")]
    assert (read["state"], read["amount_due"], read["policy"]["refund_on"]) == ("approved", 5000, "manual")
