"""The reference as a process: bare Litestar routes that send the least SQL, call Stripe with bare httpx and verify its
webhooks. Nothing is checked beyond that, nobody is asked who they are, and no answer is worked out.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import pickle
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import jinja2
import msgspec
import uvicorn
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from msgspec import Struct

from tests.bench.facts import Facts, Life, Statement
from tests.bench.stage import open_pool
from tests.harness.shop import KEY, SECRET

CONNECTIONS: Final = 8
ONE: Final = """
    SELECT r.*, p.payment_intent, p.captured,
        (SELECT json_agg(l ORDER BY position) FROM return_line l WHERE l.return_id = r.id)::text AS lines,
        (SELECT json_agg(f ORDER BY f.id) FROM refund f WHERE f.payment_id = p.id)::text AS refunds
    FROM return_authorization r JOIN payment p ON p.id = r.payment_id
"""
PAGE: Final = jinja2.Environment(autoescape=True).from_string(
    "<!doctype html><title>{{ row.id }}</title><h1>{{ row.order_id }}</h1><dl>"
    "{% for name, value in row.items() %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>"
)


class NewReturn(Struct):
    """A return as the shop asks for it."""

    order_id: str
    payment_intent: str
    currency: str
    lines: list[dict[str, Any]]


@get("/healthz")
async def healthz() -> str:
    """Answer."""
    return "ok"


async def send(state: State, statements: Sequence[Statement]) -> None:
    """Send statements in one transaction."""
    async with state.pool.acquire() as connection, connection.transaction():
        for sql, values in statements:
            await connection.fetch(sql, *values)


@post("/v1/returns", status_code=201)
async def create(state: State, data: NewReturn) -> dict[str, Any]:
    """Ask Stripe for the payment, and write the return."""
    path = f"/v1/payment_intents/{data.payment_intent}?expand[]=latest_charge"
    paid = (await state.stripe.get(path)).raise_for_status().json()
    names = state.life.new_names(payment_intent=paid["id"], charge=paid["latest_charge"]["id"])
    return_id = names[state.life.facts.return_id]
    await send(state, state.life.transaction(0, names))
    state.payments[return_id] = paid["id"]
    return {**state.answer, "id": return_id}


@post("/v1/returns/{return_id:str}/approve", status_code=200)
async def approve(state: State, return_id: str, data: dict[str, Any]) -> dict[str, Any]:
    """Write the approval."""
    await send(state, state.life.transaction(1, state.life.new_names(state.life.unit_of(return_id))))
    return {**state.answer, "id": return_id, "note": data.get("note")}


@post("/v1/returns/{return_id:str}/receipts", status_code=201)
async def receive(state: State, return_id: str, data: dict[str, Any]) -> dict[str, Any]:
    """Write the count and the refund's intent, and let the refund follow."""
    await send(state, state.life.transaction(2, state.life.new_names(state.life.unit_of(return_id))))
    task = asyncio.create_task(refund(state, return_id))
    state.tasks.add(task)
    task.add_done_callback(state.tasks.discard)
    return {"id": return_id, "object": "receipt", "lines": data["lines"]}


async def refund(state: State, return_id: str) -> None:
    """Claim the refund, ask Stripe for it, and write the answer."""
    life: Life = state.life
    names = life.new_names(life.unit_of(return_id))
    await send(state, life.transaction(3, names))
    kept = life.facts.rows["refund"][0]
    form = {"payment_intent": state.payments.pop(return_id), "amount": kept["amount"], "metadata[return_id]": return_id}
    headers = {"Idempotency-Key": f"{names[kept['id']]}:1"}
    answer = (await state.stripe.post("/v1/refunds", data=form, headers=headers)).raise_for_status().json()
    assert answer["status"] == "succeeded"
    await send(state, life.transaction(4, {**names, kept["stripe_refund"]: answer["id"]}))


@post("/webhooks/stripe", status_code=200)
async def webhook(state: State, request: Request[Any, Any, Any]) -> dict[str, bool]:
    """Verify one event, and store it."""
    payload = await request.body()
    parts = dict(part.split("=", 1) for part in request.headers["stripe-signature"].split(","))
    signed = hmac.digest(SECRET.encode(), f"{parts['t']}.".encode() + payload, hashlib.sha256).hex()
    if not hmac.compare_digest(signed, parts["v1"]):
        raise ValueError("the signature is wrong")
    await send(state, [state.life.event(msgspec.json.decode(payload)["id"], payload.decode())])
    return {"received": True}


@get("/v1/returns/{return_id:str}")
async def read_return(state: State, return_id: str) -> dict[str, Any]:
    """Read one return."""
    async with state.pool.acquire() as connection:
        return shown(await connection.fetchrow(f"{ONE} WHERE r.id = $1", return_id))


@get("/v1/returns")
async def list_returns(state: State) -> list[dict[str, Any]]:
    """Read the newest 20 returns."""
    async with state.pool.acquire() as connection:
        return [shown(row) for row in await connection.fetch(f"{ONE} ORDER BY r.id DESC LIMIT 20")]


@get("/returns/{return_id:str}")
async def page(state: State, return_id: str) -> Response[str]:
    """Show one return as a page."""
    async with state.pool.acquire() as connection:
        row = await connection.fetchrow(f"{ONE} WHERE r.id = $1", return_id)
    return Response(PAGE.render(row=dict(row)), media_type="text/html; charset=utf-8")


def shown(row: Any) -> dict[str, Any]:
    """Return a row as JSON: what is JSON in it goes out as it came."""
    return {**row, "lines": msgspec.Raw(row["lines"]), "refunds": msgspec.Raw(row["refunds"] or "[]")}


def main() -> None:
    """Serve on a port, over a database, with a Stripe, and the facts of one life from a file."""
    port, database, stripe, file = sys.argv[1:]
    facts: Facts = pickle.loads(Path(file).read_bytes())  # noqa: S301 - written by the process that started this one

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with (
            open_pool(database, CONNECTIONS) as app.state.pool,
            httpx.AsyncClient(base_url=stripe, headers=headers, timeout=60) as app.state.stripe,
        ):
            yield

    answer = msgspec.json.decode(facts.rows["idempotency_key"][0]["body"])
    routes = [healthz, create, approve, receive, webhook, read_return, list_returns, page]
    app = Litestar(
        routes,
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
        state=State({"life": Life(facts), "answer": answer, "payments": {}, "tasks": set()}),
    )
    uvicorn.run(app, port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
