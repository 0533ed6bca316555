"""A shop in the middle of its day: something waits on every page, and somebody hostile is among the customers."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from PIL import Image
from sqlmodel import select

from returns_service.domain.refund_status import RefundStatus
from returns_service.store.tables import Refund
from tests.factories import create_photo
from tests.harness.served_shop import ServedShop, expect, return_body

HOSTILE = '<img src=x onerror=alert(1)> "); DROP TABLE returns;-- \u202etxet ' + "W" * 60
LINES = [
    {"sku": "CREW-MER-UND-L", "title": "Merino crew sweater, undyed, size L", "quantity": 3, "total_amount": 9000},
    {"sku": "TOTE-NAT", "title": "Canvas tote, natural", "quantity": 1, "total_amount": 900},
    {"sku": "POSTER-50x70", "title": HOSTILE, "quantity": 2, "total_amount": 100},
]


def photograph() -> bytes:
    """Return a small picture, as it is kept."""
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "#7788aa").save(out, "WEBP")
    return out.getvalue()


async def ask(shop: ServedShop, order: str, amount: int = 10_000, **more: Any) -> dict[str, Any]:
    """Return a request over one line."""
    currency, card = more.pop("currency", "eur"), more.pop("card", "pm_card_visa")
    payment = more.pop("payment", None) or shop.pay(amount, card, currency=currency)
    more.setdefault("purchased_at", (shop.time - timedelta(days=4)).isoformat())
    body = return_body(payment, amount, more.pop("quantity", 1), order_id=order, currency=currency, **more)
    return expect(await shop.post("/v1/returns", body), 201)


async def approved(shop: ServedShop, order: str, amount: int = 10_000, **more: Any) -> dict[str, Any]:
    """Return an approved return over one line."""
    made = await ask(shop, order, amount, **more)
    return expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A regular."}), 200)


async def parcel(shop: ServedShop, order: str = "NW-48213", **more: Any) -> dict[str, Any]:
    """Return an approved return over three lines, one of them by somebody hostile."""
    body = return_body(shop.pay(), 10_000, order_id=order, customer_email="élodie@shop.test", **more)
    made = expect(await shop.post("/v1/returns", {**body, "lines": LINES}), 201)
    return expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)


@dataclass
class World:
    """What a day left, by what it shows."""

    requested: dict[str, Any]
    outside: dict[str, Any]
    parcel_here: dict[str, Any]
    failed: dict[str, Any]
    undeclared: dict[str, Any]
    hostile: dict[str, Any]
    unmatched: dict[str, Any]


async def play_day(shop: ServedShop) -> World:
    """Leave something to do on every page."""
    shop.policy = shop.context.policy = replace(
        shop.context.policy, second_person_above={"eur": 50_000, "jpy": 50_000, "usd": 10**6, "kwd": 10**6}
    )
    inside = await ask(
        shop, "NW-48171", 5900, reason="not_as_described", customer_email="birgit@shop.test",
        customer_name="Birgit Østergård", tracking_numbers=["1Z 999 AA1 01 2345 6784"],
    )  # fmt: skip
    bought = (shop.time - timedelta(days=41)).isoformat()
    outside = await ask(
        shop,
        "NW-48177",
        76_415,
        currency="usd",
        purchased_at=bought,
        reason="changed_mind",
        customer_email="x@shop.test",
    )
    await ask(shop, "NW-48185", 64_800, currency="jpy", reason="One cup is cracked", customer_email="misaki@a.test")
    hostile = await ask(shop, HOSTILE, 30_250, currency="kwd", reason=HOSTILE, customer_email="birgit@shop.test",
        customer_name=HOSTILE,
    )  # fmt: skip
    shop.advance(3600)
    await approved(shop, "NW-48166", 4210)
    await _declined(shop)
    here = await parcel(shop)
    await _count(shop, here, {"sku": "CREW-MER-UND-L", "quantity": 1, "condition": "new"})
    await shop.settle()
    pending = await approved(shop, "NW-48209", 21_200, card="pm_card_pendingRefund")
    await _count(shop, pending, {"sku": "SHIRT", "quantity": 1, "condition": "opened"})
    done = await approved(shop, "NW-48101", 12_000)
    await _count(shop, done, {"sku": "SHIRT", "quantity": 1, "condition": "new"})
    failed = await approved(shop, "NW-47902", 14_800, card="pm_card_refundFail", customer_email="ruth@shop.test")
    await _count(shop, failed, {"sku": "SHIRT", "quantity": 1, "condition": "new"})
    await shop.settle()
    odd = await approved(shop, "NW-48160", 8990)
    body: dict[str, Any] = {"undeclared": [{"sku": HOSTILE[:90], "quantity": 2, "note": "In the same box."}]}
    expect(await shop.post(f"/v1/returns/{odd['id']}/receipts", body), 201)
    await _dashboard_refund(shop)
    await _disputed(shop)
    await _unknown(shop)
    items = [{"sku": "MUG", "quantity": 2, "condition": "new"}]
    body = {"order_id": "NW-1", "tracking_number": "1Z999AA10123456784", "note": HOSTILE[:60], "items": items}
    unmatched = expect(await shop.post("/v1/receipts", body), 201)
    await shop.settle()
    item = (await shop.read_return(odd["id"]))["undeclared"][0]["id"]
    async with shop.db.transaction() as tx:
        for values in ({"return_id": inside["id"]}, {"return_id": odd["id"], "about_id": item}):
            await create_photo(tx, content=photograph(), **values)
    return World(inside, outside, here, failed, odd, hostile, unmatched)


async def _count(shop: ServedShop, of: dict[str, Any], *lines: dict[str, Any]) -> None:
    expect(await shop.post(f"/v1/returns/{of['id']}/receipts", {"lines": list(lines)}), 201)


async def _declined(shop: ServedShop) -> None:
    made = await ask(shop, "NW-47000", 4000)
    expect(await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "Worn."}), 200)


async def _dashboard_refund(shop: ServedShop) -> None:
    """Leave a refund that a colleague made in the Dashboard, and one of ours that it holds."""
    payment = shop.pay(10_000, currency="eur")
    made = await approved(shop, "NW-48155", 5000, payment=payment)
    shop.dashboard.refund(payment, 4000)
    await shop.deliver()
    await _count(shop, made, {"sku": "SHIRT", "quantity": 1, "condition": "new"})


async def _disputed(shop: ServedShop) -> None:
    made = await approved(shop, "NW-47714", 31_000, card="pm_card_createDispute")
    await shop.settle()
    await _count(shop, made, {"sku": "SHIRT", "quantity": 1, "condition": "new"})


async def _unknown(shop: ServedShop) -> None:
    """Leave a refund of which nobody knows whether it moved."""
    made = await approved(shop, "NW-48201", 18_400, currency="jpy")
    await _count(shop, made, {"sku": "SHIRT", "quantity": 1, "condition": "new"})
    unknown: RefundStatus = "unknown"
    async with shop.db.transaction() as tx:
        chosen = select(Refund).where(Refund.return_id == made["id"])
        row = (await tx.exec(chosen)).one()
        row.status, row.attempts, row.failures_in_a_row, row.ever_unknown = unknown, 9, 9, True
        row.first_attempt_at, row.next_attempt_at = tx.now, tx.now + timedelta(hours=1)
