"""A customer's link, and a browser without scripts that opens it."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import httpx
from PIL import Image

from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk
from tests.pages.forms import forms_in
from tests.pages.world import HOSTILE

LINES: list[dict[str, Any]] = [
    {"sku": "CREW-L", "title": "Merino crew sweater, undyed, size L, worsted-spun organic wool", "quantity": 3,
     "total_amount": 10000, "order_line": "1", "quantity_ordered": 3},
    {"sku": "TOTE", "title": "Canvas tote, natural", "quantity": 1, "total_amount": 2450, "order_line": "2"},
    {"sku": "POSTER", "title": HOSTILE, "quantity": 2, "total_amount": 5990},
    {"sku": "GIFT-CARD-50", "title": "Gift card", "quantity": 1, "total_amount": 5000},
]  # fmt: skip


async def offer(shop: ServedShop, order: str = "NW-48213", **more: Any) -> dict[str, Any]:
    """Return a portal session over four lines of an order bought four days ago."""
    payment = more.pop("payment", None) or shop.pay(30_000, currency="eur")
    body = {
        "order_id": order, "payment_intent": payment, "currency": "eur", "lines": LINES,
        "purchased_at": (shop.time - timedelta(days=4)).isoformat(), "customer_email": "mia@shop.test", **more,
    }  # fmt: skip
    return expect(await shop.post("/v1/portal_sessions", body), 201)


def path_of(session: dict[str, Any]) -> str:
    """Return the path of a session's link."""
    return httpx.URL(session["url"]).path


def picture(kind: str = "JPEG", size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    """Return a small photo."""
    out = io.BytesIO()
    Image.new("RGB", size, "#aa3355").save(out, kind, **options)
    return out.getvalue()


async def tick(
    desk: Desk, path: str, do: str = "update", *, files: Any = None, page: httpx.Response | None = None, **fields: Any
) -> httpx.Response:
    """Send the form with some fields filled in (`q0`: how many of the first item, `r0`: why, `w0`: what for)."""
    page = page or await desk.get(path)
    sent = dict(forms_in(page)[path])
    for name, value in fields.items():
        field = {"q": "quantity", "r": "reason", "w": "resolution"}.get(name[0]) if name[1:].isdigit() else None
        sent[f"{field}:{name[1:]}" if field else name] = value
    return await desk.client.post(path, data=sent | {"do": do}, files=files or None, headers=desk.headers)


async def send_back(desk: Desk, path: str, **fields: Any) -> httpx.Response:
    """Tick, look at the amount, and send it; return the answer to the last."""
    fields = fields or {"pick": ["0", "1"], "q0": "2", "r0": "too_small", "r1": "damaged"}
    answer = await tick(desk, path, **fields)
    assert answer.status_code == 303, answer.text
    return await tick(desk, path, "send", **fields)


async def returns_of(shop: ServedShop, order: str = "NW-48213") -> list[dict[str, Any]]:
    """Return the returns of an order."""
    found: list[dict[str, Any]] = expect(await shop.get(f"/v1/returns?order_id={order}"), 200)["data"]
    return found
