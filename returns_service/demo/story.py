"""The day's chapters: what goes right, and what goes wrong on the way to Stripe and back."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from returns_service.demo.shop import PATIENCE_SECONDS, Shop, line
from returns_service.domain.money import format_amount
from returns_service.domain.plural import pluralize


async def a_full_return(shop: Shop) -> None:
    """All units in one parcel."""
    row = await shop.buy("full return", [line("SHIRT", 2, 4998)])
    await shop.receive(row, 2)
    await shop.becomes(row, "refunded")


async def two_parcels(shop: Shop) -> None:
    """Three units in two parcels: the cents come out even."""
    row = await shop.buy("two parcels, 3 units of 100.00", [line("MUG", 3, 10000)])
    await shop.receive(row, 1)
    await shop.until(row, lambda r: bool(r["amount_refunded"] == 3333))
    shop.tell(f"{row['order_id']}: 33.33 USD for the first of three is refunded; the rest is expected")
    await shop.receive(row, 2, "opened")
    await shop.becomes(row, "refunded")


async def a_partial_return(shop: Shop) -> None:
    """One of two units comes; the shop closes the return."""
    row = await shop.buy("partial, closed", [line("SOCKS", 2, 1799)])
    await shop.receive(row, 1)
    await shop.until(row, lambda r: bool(r["amount_refunded"] == 899))
    await shop.post(f"/v1/returns/{row['id']}/close", {"reason": "The customer keeps the other one."})
    await shop.becomes(row, "refunded")


async def a_lost_answer(shop: Shop) -> None:
    """Stripe refunds, the answer is lost: the same key asks again, and the money moves once."""
    row = await shop.buy("answer lost on the way", [line("LAMP", 1, 7250)])
    await shop.fault("drop_after", method="POST", path="/v1/refunds")
    await shop.receive(row, 1)
    await shop.becomes(row, "refunded")
    attempts = (await shop.refund_of(row))["attempts"]
    known_by = f"asked {pluralize(attempts, 'time')} under one key" if attempts > 1 else "its webhook told of it first"
    shop.tell(f"{row['order_id']}: Stripe's answer was lost; {known_by}; paid once")


async def a_lost_webhook(shop: Shop) -> None:
    """A pending refund's webhook never comes: somebody asks Stripe."""
    row = await shop.buy("webhook lost", [line("SCARF", 1, 3100)], card="pm_card_pendingRefund")
    await shop.fault("lose", event_type="refund.updated")
    await shop.fault("lose", event_type="charge.refund.updated")
    await shop.receive(row, 1)
    await shop.until(row, lambda r: bool(r["state"] == "refunding"))
    refund = await shop.refund_of(row)
    shop.tell(f"{row['order_id']}: the bank takes its time, and Stripe's webhook is lost")
    end = time.monotonic() + PATIENCE_SECONDS
    while refund["status"] != "succeeded" and time.monotonic() < end:
        await asyncio.sleep(0.3)
        refund = await shop.post(f"/v1/refunds/{refund['id']}/check")
    await shop.becomes(row, "refunded")


async def a_failing_refund(shop: Shop) -> None:
    """The bank gives the money back: finance settles it outside."""
    row = await shop.buy("refund failed, settled outside", [line("BOOTS", 1, 12900)], card="pm_card_refundFail")
    await shop.receive(row, 1)
    found = await shop.becomes(row, "failed")
    shop.tell(f"{row['order_id']}: {found['failure']['message']}")
    outside = {"method": "bank_transfer", "reference": "SEPA-2026-11-0071"}
    await shop.post(f"/v1/returns/{row['id']}/settle_outside", outside)
    await shop.becomes(row, "refunded")


async def a_late_failure(shop: Shop) -> None:
    """Succeeded, then failed: finance retries, with a new row and a new key."""
    row = await shop.buy("late failure, retried", [line("JACKET", 1, 18400)], currency="eur")
    await shop.receive(row, 1)
    await shop.becomes(row, "refunded")
    refund = await shop.refund_of(row)
    await shop.move("fail", refund["stripe_refund"], reason="expired_or_canceled_card")
    found = await shop.becomes(row, "failed")
    shop.tell(f"{row['order_id']}: {found['failure']['message']}")
    await shop.post(f"/v1/returns/{row['id']}/retry", expect=202)
    await shop.becomes(row, "refunded")


async def a_dashboard_refund(shop: Shop) -> None:
    """Somebody refunds in the Dashboard: our refund is held or refused, and nothing is paid twice."""
    row = await shop.buy("refunded in the Dashboard meanwhile", [line("TENT", 1, 25000)])
    await shop.move("refund", row["payment_intent"], amount=25000)
    shop.tell(f"{row['order_id']}: a colleague refunds it in the Stripe Dashboard")
    await shop.receive(row, 1)
    found = await shop.until(row, lambda r: bool(r["state"] == "failed" or r["refund_barred"] or _holds_a_refund(r)))
    made = await shop.made_outside(row)
    if not found["failure"] and not found["refund_barred"]:  # Stripe's word came before our call, and after its intent
        shop.tell(f"{row['order_id']}: {found['refunds_waiting'][0]['message']}")
        await shop.post(f"/v1/refunds/{made['id']}/assign", {"return": row["id"]})
    else:
        shop.tell(f"{row['order_id']}: {(found['failure'] or {}).get('message') or found['refund_barred']['reason']}")
        paid = {"method": "dashboard_refund", "reference": made["stripe_refund"]}
        await shop.post(f"/v1/returns/{row['id']}/settle_outside", paid)
    await shop.becomes(row, "refunded")


def _holds_a_refund(row: dict[str, Any]) -> bool:
    """Return whether a refund made outside holds one of the return's that is not sent yet."""
    return any(refund["code"] == "external_refund_open" for refund in row["refunds_waiting"])


async def a_dashboard_refund_assigned(shop: Shop) -> None:
    """A colleague pays one unit in the Dashboard before the parcel comes: finance says what it was for."""
    row = await shop.buy("Dashboard refund assigned", [line("CHAIR", 2, 12000)])
    await shop.move("refund", row["payment_intent"], amount=6000)
    shop.tell(f"{row['order_id']}: a colleague refunds {format_amount(6000, 'usd')} in the Stripe Dashboard")
    made = await shop.made_outside(row)
    await shop.receive(row, 2)
    found = await shop.until(row, lambda r: r["refund_barred"] is not None)
    shop.tell(f"{row['order_id']}: {found['refund_barred']['reason']}")
    await shop.post(f"/v1/refunds/{made['id']}/assign", {"return": row["id"]})
    shop.tell(f"{row['order_id']}: finance assigns it to the return; only what is still due is paid")
    await shop.becomes(row, "refunded")


async def an_exchange(shop: Shop) -> None:
    """The customer wants another size instead of money: nothing is paid through Stripe."""
    row = await shop.buy("exchanged for another size", [line("SNEAKER", 1, 9900)], resolution="exchange")
    await shop.receive(row, 1)
    found = await shop.until(row, lambda r: bool(r["amount_due_outside"]))
    due = format_amount(found["amount_due_outside"], "usd")
    shop.tell(f"{row['order_id']}: {due} is due as an exchange; the shop sends the other size")
    await shop.post(f"/v1/returns/{row['id']}/settle_outside", {"method": "exchange", "reference": "NW-48399"})
    await shop.becomes(row, "refunded")


async def two_clicks(shop: Shop) -> None:
    """Two clicks at once: one refund."""
    row = await shop.buy("two clicks at once", [line("CAP", 2, 4000)])
    asked = {"amount": 4000, "override_reason": "The customer was told so on the phone."}
    keys = [{"Idempotency-Key": str(uuid.uuid4())} for _ in range(2)]
    path = f"/v1/returns/{row['id']}/refund"
    answers = await asyncio.gather(*(shop.api.post(path, json=asked, headers=key) for key in keys))
    codes = sorted(answer.status_code for answer in answers)
    shop.tell(f"{row['order_id']}: two people click Refund at once; the answers are {codes[0]} and {codes[1]}")
    await shop.until(row, lambda r: bool(r["amount_refunded"] == 4000))
    await shop.post(f"/v1/returns/{row['id']}/close", {"reason": "The customer keeps the caps."})
    await shop.becomes(row, "refunded")


STORY = (
    a_full_return,
    two_parcels,
    a_partial_return,
    a_lost_answer,
    a_lost_webhook,
    a_failing_refund,
    a_late_failure,
    a_dashboard_refund,
    a_dashboard_refund_assigned,
    an_exchange,
    two_clicks,
)
