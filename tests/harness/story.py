"""A story in which each operation of the API succeeds once, and each type of event is told; the contract's examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import httpx

from returns_service.commands.refund_rate import judge_refund_rate
from returns_service.return_case.events import Actor
from returns_service.stripe_simulator import signature_of
from returns_service.web.routes import OPERATIONS
from returns_service.worker.charges import count_charges
from returns_service.worker.reconcile import reconcile
from tests.harness.served_shop import ServedShop, expect
from tests.harness.shop import SECRET
from tests.harness.webhook_receivers import WebhookReceivers

BY_NAME = {operation.name: operation for operation in OPERATIONS}
FIVE_MINUTES, QUARTER_HOUR = 300, 900


@dataclass
class Story:
    """What is played, and what of it is kept: the first exchange of each operation, by name, and all bodies."""

    shop: ServedShop
    exchanges: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))  # all that were sent
    receivers: WebhookReceivers = field(init=False)

    def __post_init__(self) -> None:
        self.receivers = WebhookReceivers(self.shop.db)

    async def play(
        self, name: str, body: Mapping[str, Any] | None = None, *, query: str = "", key: str | None = None, **ids: str
    ) -> dict[str, Any]:
        """Do an operation with the body of its example, changed by `body`; it must succeed. Return its answer.

        A value of `...` leaves its field out; `key`: the secret of another API key.
        """
        operation = BY_NAME[name]
        path = operation.path.format(**ids) + query
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if operation.method == "POST":
            asked = {**(operation.example or {}), **(body or {})}
            sent = {name: value for name, value in asked.items() if value is not ...}
            self.bodies[name].append(sent)
            answer = await self.shop.post(path, sent, **headers)
            return self.keep(name, answer, operation.status, path=ids, request=sent)
        answer = await self.shop.client.request(operation.method, path)
        return self.keep(name, answer, operation.status, path=ids)

    def keep(self, name: str, answer: httpx.Response, status: int = 200, **asked: Any) -> dict[str, Any]:
        """Keep what was asked and its answer, which must have this status, where it is the first of its name."""
        shown = expect(answer, status)
        self.exchanges.setdefault(name, {**asked, "answer": shown})
        return shown

    async def create_return(self, *, card: str = "pm_card_visa", approve: bool = True, **body: Any) -> dict[str, Any]:
        """Return a return of three shirts for 100.00 USD."""
        payment = body.pop("payment_intent", None) or self.shop.pay(card=card)
        made = await self.play("create_return", {"payment_intent": payment, **body})
        return await self.play("approve_return", return_id=made["id"]) if approve else made

    async def count(self, made: Mapping[str, Any], quantity: int = 1, condition: str = "new", **more: Any) -> Any:
        """Return the receipt of shirts of a return."""
        lines = [{"sku": "SHIRT", "quantity": quantity, "condition": condition, **more.pop("line", {})}]
        return await self.play("create_receipt", {"lines": lines, "scan_id": ..., **more}, return_id=made["id"])


async def play(shop: ServedShop) -> Story:
    """Play the whole story in a shop that nothing has happened in."""
    story = Story(shop)
    await play_listener(story)
    await play_returns(story)
    await play_dock(story)
    await play_refunds(story)
    await play_second_person(story)
    await play_dashboard_refunds(story)
    await play_service(story)
    await play_reads(story)
    return story


async def play_listener(story: Story) -> None:
    """Make endpoints, test, change and delete them."""
    made = await story.play("create_webhook_endpoint")
    ping = await story.play("test_webhook_endpoint", endpoint_id=made["id"])
    await story.receivers.work()
    await story.play("read_delivery", delivery_id=ping["id"])
    await story.play("retry_one_delivery", delivery_id=ping["id"])
    await story.play("read_webhook_endpoint", endpoint_id=made["id"])
    await story.play("rotate_webhook_secret", endpoint_id=made["id"])
    other = await story.play("create_webhook_endpoint", {"url": "https://other.example.com/hooks"})
    await story.play("update_webhook_endpoint", endpoint_id=other["id"])
    await story.play("delete_webhook_endpoint", endpoint_id=other["id"])


async def play_returns(story: Story) -> None:
    """Ask for returns and decide about them, whichever way."""
    shop = story.shop
    made = await story.create_return()
    await story.play("update_return", return_id=made["id"])
    await story.play("create_note", return_id=made["id"])
    await story.play("list_notes", return_id=made["id"])
    await story.play("preview_refund", return_id=made["id"])
    await story.play("cancel_return", return_id=made["id"])
    other = await story.create_return(approve=False, order_id="order_98766")
    await story.play("decline_return", return_id=other["id"])
    await story.play("reopen_return", return_id=other["id"])
    await story.play("resolve_return", return_id=other["id"])
    example = dict(BY_NAME["create_returns"].example or {})
    items = [{**item, "payment_intent": shop.pay(), "order_id": "order_98767"} for item in example["returns"]]
    await story.play("create_returns", {"returns": items})
    await story.play("create_portal_session", {"payment_intent": shop.pay(), "order_id": "order_98768"})


async def play_dock(story: Story) -> None:
    """Count, correct, inspect and reverse; find a home for what nobody declared."""
    made = await story.create_return()
    where = {"return_id": made["id"]}
    line = made["lines"][0]["id"]
    first = await story.play("create_receipt", return_id=made["id"])
    await story.shop.settle()
    missing = await story.count(made, 1, "missing")
    corrections = [{"line": line, "from": "missing", "to": "new", "quantity": 1}]
    await story.play("correct_receipt", {"lines": corrections}, **where, receipt_id=missing["id"])
    inspected = await story.count(made, line={"disposition": "inspect"})
    findings = [{"line": line, "condition": "new", "disposition": "restock"}]
    await story.play("inspect_receipt", {"lines": findings}, **where, receipt_id=inspected["id"])
    twice = await story.count(made)
    await story.play("reverse_receipt", **where, receipt_id=twice["id"])
    hat = {"lines": ..., "undeclared": [{"sku": "HAT", "quantity": 1}]}
    extra = await story.play("create_receipt", {**hat, "scan_id": "dock-2-000418"}, **where)
    await story.play("resolve_undeclared", **where, undeclared_id=extra["undeclared"][0]["id"])
    await story.shop.settle()
    await story.play("read_receipt", **where, receipt_id=first["id"])
    await story.play("list_receipts", query="?limit=1", **where)
    await story.play("list_return_events", query="?limit=1", **where)
    await story.play("read_return", **where)

    parcel = await story.play("create_unmatched_receipt")
    await story.play("read_unmatched_receipt", unmatched_id=parcel["id"])
    waiting = await story.create_return(order_id="order_98769")
    await story.play("attach_receipt", {"return": waiting["id"]}, unmatched_id=parcel["id"])
    await story.play("create_unmatched_receipt", {"order_id": "order_98770"})
    await story.play("list_unmatched_receipts", query="?limit=1")
    await story.shop.settle()
    await story.play("close_return", return_id=waiting["id"])
    wanted = await story.create_return(order_id="order_98775", resolution="exchange")
    await story.count(wanted)
    await count_too_much(story)


async def count_too_much(story: Story) -> None:
    """Pay for a unit that turns out to be missing, and let the customer keep it."""
    made = await story.create_return(order_id="order_98771")
    receipt = await story.count(made)
    await story.shop.settle()
    wrong = [{"line": made["lines"][0]["id"], "from": "new", "to": "missing", "quantity": 1}]
    body = {"lines": wrong, "reason": "The box was empty."}
    await story.play("correct_receipt", body, return_id=made["id"], receipt_id=receipt["id"])
    await story.play("acknowledge_overpaid_return", return_id=made["id"])


async def play_refunds(story: Story) -> None:
    """Refund by hand; let refunds fail, get lost and be settled otherwise."""
    shop = story.shop
    goodwill = {"override_reason": "Goodwill, agreed by phone."}
    made = await story.create_return(order_id="order_98772")
    await story.play("refund_return", goodwill, return_id=made["id"])
    await shop.settle()
    failed = await story.create_return(card="pm_card_refundFail", order_id="order_98773")
    for name in ("retry_return", "settle_return_outside"):
        if name == "retry_return":
            await story.count(failed, 3)
        await shop.settle()
        await story.play(name, return_id=failed["id"])

    def body(card: str = "pm_card_visa") -> dict[str, Any]:
        return {"payment_intent": shop.pay(card=card)}

    refund = await story.play("create_refund", body())
    await story.play("check_refund", refund_id=refund["id"])
    await shop.settle()
    await story.play("read_refund", refund_id=refund["id"])
    await story.play("read_payment", payment_id=refund["payment"])
    unsent = await story.play("create_refund", body())
    await story.play("cancel_refund", refund_id=unsent["id"])
    broken = await story.play("create_refund", body("pm_card_refundFail"))
    await shop.settle()
    again = await story.play("retry_refund", refund_id=broken["id"])
    await shop.settle()
    await story.play("settle_refund_outside", refund_id=again["id"])
    lost = await story.play("create_refund", body())
    shop.faults.arm("drop_before", method="POST", path="/v1/refunds")
    for _ in range(7):
        await shop.work()
        shop.advance(FIVE_MINUTES)
    shop.faults.disarm()
    shop.advance(QUARTER_HOUR)
    await story.play("send_refund_again", refund_id=lost["id"])
    shop.advance(60)
    await shop.settle()


async def play_second_person(story: Story) -> None:
    """Let a second person agree to a refund above the policy's limit."""
    shop = story.shop
    usual = shop.policy
    shop.policy = shop.context.policy = replace(usual, second_person_above={"usd": 1000})
    keys = [await shop.create_key("admin") for _ in range(2)]
    refund = await story.play("create_refund", {"payment_intent": shop.pay()}, key=keys[0])
    await story.play("approve_refund", refund_id=refund["id"], key=keys[1])
    shop.policy = shop.context.policy = usual
    await shop.settle()


async def play_dashboard_refunds(story: Story) -> None:
    """Find refunds that others made: one is a return's, one is a second one for the same intent."""
    shop = story.shop
    payment = shop.pay()
    made = await story.create_return(payment_intent=payment, order_id="order_98774")
    shop.dashboard.refund(payment, 3333)
    await shop.deliver()
    (external,) = expect(await shop.get(f"/v1/refunds?payment_intent={payment}"), 200)["data"]
    await story.play("assign_refund", {"return": made["id"]}, refund_id=external["id"])
    first = await story.play("create_refund", {"payment_intent": (other := shop.pay())})
    await shop.settle()
    shop.dashboard.refund(other, 1500, metadata={"refund_id": first["id"]})
    await shop.deliver()
    (second,) = expect(await shop.get("/v1/desk?kind=payment_overpaid"), 200)["data"]
    await story.play("acknowledge_refund", refund_id=second["refund"])


async def play_service(story: Story) -> None:
    """Compare with Stripe, judge the day's refunds, and ask what needs no key."""
    shop = story.shop
    shop.dashboard.refund(shop.pay(), 4000)
    shop.lose_webhooks()
    run = (await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=1), fix=False)).run
    await story.play("read_reconciliation", reconciliation_id=run.id)
    await story.play("list_reconciliation_differences", query="?limit=1", reconciliation_id=run.id)
    shop.advance(60)
    for _ in range(3):
        await count_charges(shop.db, shop.gateway, Actor("worker"), shop.policy)
    await shop.db.run(lambda tx: judge_refund_rate(tx, Actor("worker"), shop.policy))
    for name, path in (("read_health", "/healthz"), ("read_readiness", "/readyz")):
        story.keep(name, await shop.get(path))
    shop.pay()
    body = shop.ledger.body_of(shop.ledger.due_webhooks()[0])
    signed = {"Stripe-Signature": signature_of(body, SECRET, shop.clock.unix())}
    story.keep("receive_stripe_event", await shop.client.post("/webhooks/stripe", content=body, headers=signed))
    await shop.deliver()


async def play_reads(story: Story) -> None:
    """Read what is left: the lists."""
    await story.play("read_policy")
    for name in ("list_returns", "list_refunds", "list_events", "list_reconciliations", "list_desk_items",
                 "list_webhook_endpoints", "list_deliveries"):  # fmt: skip
        await story.play(name, query="?limit=1")
    await story.receivers.work()
