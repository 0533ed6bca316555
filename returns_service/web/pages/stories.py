"""An event in words: what a person is told happened, with its icon, its amount and who did it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from returns_service.domain.money import format_amount
from returns_service.store.tables import Event
from returns_service.web.pages.rendering import ICON_OF_STATE, isolate, plural

METHODS: Final[Mapping[str, str]] = {
    "bank_transfer": "bank transfer", "store_credit": "store credit", "cash": "cash", "exchange": "exchange",
    "dashboard_refund": "Stripe’s Dashboard", "dispute": "the lost dispute", "waived": "waived by the customer",
}  # fmt: skip
_METHOD: Final = re.compile(r"(\w+)(?: re_\w+)?")
CONDITIONS: Final[Mapping[str, str]] = {
    "new": "new", "opened": "opened", "damaged": "damaged", "missing": "missing", "wrong_item": "wrong item",
}  # fmt: skip
_TRIGGERS: Final[Mapping[str, str]] = {
    "approve": "Approved", "decline": "Declined", "cancel": "Canceled", "close": "Closed", "reopen": "Reopened",
    "forget": "Personal data erased", "assign": "A refund made outside was assigned",
    "adopt": "A refund made outside was assigned here",
    "follow_order": "Another return of the order changed what is due here",
    "acknowledge": "A refund made outside was set apart", "settle_outside": "Settled outside",
}  # fmt: skip
_TOLD_BESIDE: Final = frozenset(
    "receive reverse correct inspect settle fail take_back withdraw refund retry settle_outside".split()
)
_DECIDED: Final[Mapping[str, str]] = {
    "accept_as_line": "counted on this return", "return_to_customer": "back to the customer", "scrap": "scrap",
}  # fmt: skip
_WANTED: Final[Mapping[str, str]] = {
    "refund": "a refund", "store_credit": "store credit", "exchange": "an exchange",
}  # fmt: skip
_LED_TO: Final[Mapping[str, str]] = {
    "requested": "Waits for a decision", "approved": "Approved, waits for the parcel", "refunding": "Refund on its way",
    "refunded": "Refunded", "failed": "A refund failed", "declined": "Declined", "canceled": "Canceled",
}  # fmt: skip
_FIGURE_OF: Final[Mapping[str, str]] = {  # the amount that says most of a state
    "approved": "amount_estimated", "refunding": "amount_open", "refunded": "amount_refunded",
}  # fmt: skip
MOST_PARTS: Final = 6  # lines of a receipt that its story names
STATUSES: Final[Mapping[str, tuple[str, str, str]]] = {  # a refund's status -> icon, state, what it says of its amount
    "queued": ("refunding", "refunding", "waits to be sent to Stripe"),
    "submitted": ("refunding", "refunding", "sent to Stripe"),
    "pending": ("refunding", "refunding", "is on its way at the bank"),
    "requires_action": ("clock", "requested", "waits for the customer"),
    "succeeded": ("refunded", "refunded", "refunded"),
    "failed": ("failed", "failed", "did not arrive"),
    "canceled": ("canceled", "canceled", "canceled: it did not move"),
    "withdrawn": ("canceled", "canceled", "withdrawn before it was sent"),
    "unknown": ("unknown", "requested", "nobody knows yet whether it moved"),
    "settled_outside": ("refunded", "refunded", "settled outside Stripe"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Story:
    """One event as it is told."""

    event_id: str
    at: datetime
    by: str  # an actor; its name is looked up
    title: str
    detail: str = ""
    quote: str = ""  # a person's own words
    override: str = ""  # their words for what went against a rule
    icon: str = "info"
    state: str | None = None  # colours the icon
    codes: tuple[tuple[str, str], ...] = ()  # for support: label, id

    @property
    def kind(self) -> str:
        """How good the news is: `ok`, `warn` or `danger`."""
        if self.state == "failed":
            return "danger"
        return "warn" if self.icon in ("unknown", "clock", "desk") else "ok"


def is_told_beside(event: Event) -> bool:
    """Return whether an event only says where another one led, which a return's history tells in its own words."""
    of_return = event.type.startswith("return.") and event.data.get("trigger") in _TOLD_BESIDE
    return of_return and _decided_item(event.data) is None  # a decision about those has no other event


def told_first(events: Sequence[Event]) -> str | None:
    """Return the id of the event that says best what a request did; None where it wrote none."""
    best = next((event for event in events if not is_told_beside(event)), events[0] if events else None)
    return best.id if best is not None else None


def tell(event: Event) -> Story:
    """Return an event in words."""
    words = _TELLERS.get(event.type, _other)(event.data)
    given = {"icon": "info", "state": None, "detail": "", **words}
    codes = [("Event", event.id)]
    codes += [(label, text) for label, text in (("Refund", event.refund_id), ("Request", event.request_id)) if text]
    if stripe := _object(event.data).get("stripe_refund"):
        codes.append(("Stripe’s refund", str(stripe)))
    return Story(event.id, event.created_at, event.actor, codes=tuple(codes), **given)


def _object(data: Mapping[str, Any]) -> Mapping[str, Any]:
    found = data.get("object")
    return found if isinstance(found, Mapping) else {}


def _money(shown: Mapping[str, Any]) -> str:
    amount, currency = shown.get("amount"), shown.get("currency")
    return format_amount(amount, currency) if isinstance(amount, int) and isinstance(currency, str) else "An amount"


def _figure(data: Mapping[str, Any], name: str) -> str:
    """Return an amount of the return as it was then, in words; empty where the event doesn't keep it."""
    shown = _object(data)
    amount, currency = shown.get(name), shown.get("currency")
    return format_amount(amount, currency) if isinstance(amount, int) and isinstance(currency, str) and amount else ""


def _decided_item(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the units nobody announced that somebody decided about in an event; None for other events."""
    if data.get("trigger") != "receive" or not data.get("reason"):
        return None
    items = [one for one in _object(data).get("undeclared", ()) if isinstance(one, Mapping) and one.get("decision")]
    return max(items, key=lambda one: str(one.get("decided_at")), default=None)


def _tell_decision(item: Mapping[str, Any]) -> dict[str, Any]:
    decision = _DECIDED.get(str(item.get("decision")), str(item.get("decision")))
    units = f"{item.get('quantity')} × {isolate(str(item.get('sku')))}"
    return {"title": f"{units}, nobody announced it: {decision}", "icon": "box"}


def _tell_request(data: Mapping[str, Any]) -> dict[str, Any]:
    amount = _figure(data, "amount_authorized")
    return {
        "title": f"Requested: {amount}" if amount else "Requested",
        "icon": "requested",
        "state": "requested",
        "quote": _object(data).get("reason") or "",
    }


def _state_changed(data: Mapping[str, Any]) -> dict[str, Any]:
    to, trigger = str(data.get("to")), str(data.get("trigger"))
    led_to, figure = _LED_TO.get(to, to), _figure(data, _FIGURE_OF.get(to, ""))
    led_to = f"{led_to}: {figure}" if figure else led_to
    told = {"icon": ICON_OF_STATE.get(to, "info"), "state": to, **_quotes(data)}
    if (item := _decided_item(data)) is not None:
        return {**_tell_decision(item), "detail": f"Now: {led_to}", "state": to}
    if trigger == "resolution":
        return {**told, "title": _tell_wanted(data), "detail": f"Now: {led_to}", "quote": ""}
    if trigger == "settle_outside" and (method := _settled_by(data)):
        return {**told, "title": f"Settled outside: {method}", "detail": f"Now: {led_to}", "quote": ""}
    if trigger not in _TRIGGERS:
        return {"title": led_to, **told}
    if trigger == "approve" and to == "approved":
        return {"title": f"Approved: {figure}" if figure else "Approved", **told}
    says_it_all = trigger in ("decline", "cancel")
    return {"title": _TRIGGERS[trigger], "detail": "" if says_it_all else f"Now: {led_to}", **told}


def _settled_by(data: Mapping[str, Any]) -> str:
    """Return the method that something was settled by, in words; empty where a person's own reason is kept instead."""
    match = _METHOD.fullmatch(_reason(data))
    return METHODS.get(match[1], "") if match else ""


def _tell_wanted(data: Mapping[str, Any]) -> str:
    return f"The customer wants {_WANTED.get(_reason(data), 'something else')}"


def _tell_overpaid(data: Mapping[str, Any]) -> dict[str, Any]:
    amount = _money({**_object(data), "amount": data["overpaid_amount"]})
    if reason := _reason(data):
        return {"title": f"{amount} stays with the customer", "icon": "check", "quote": reason}
    return {"title": f"{amount} more was paid than the return is worth", "icon": "desk"}


def _reason(data: Mapping[str, Any]) -> str:
    return _text(data, "reason")


def _text(data: Mapping[str, Any], name: str) -> str:
    text = data.get(name)
    return text if isinstance(text, str) else ""


def _quotes(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person said to an event: why, and why in spite of a rule."""
    return {"quote": _reason(data), "override": _text(data, "override_reason")}


def _tell_update(data: Mapping[str, Any]) -> dict[str, Any]:
    trigger = data.get("trigger")
    if trigger == "refund_barred":
        return {"title": "A refund is due and is held", "icon": "desk", "quote": _reason(data)}
    if trigger == "approve":
        return {"title": "Approved once; a second person has to agree", "icon": "approved", **_quotes(data)}
    if (item := _decided_item(data)) is not None:
        return _tell_decision(item)
    if trigger == "resolution":
        return {"title": _tell_wanted(data)}
    if "overpaid_amount" in data:
        return _tell_overpaid(data)
    if trigger in _TRIGGERS:
        return {"title": _TRIGGERS[str(trigger)], **_quotes(data)}
    if "inspected" in data:
        return {"title": "Inspected", "icon": "check"}
    if isinstance(data.get("changed"), list):
        words = ", ".join(str(name).replace("_", " ") for name in data["changed"])
        return {"title": f"Changed: {words}" if words else "Nothing was changed", "icon": "note"}
    return {"title": "Counted" if trigger == "receive" else "Updated", "icon": "box"}


def _note_added(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": "Note", "icon": "note", "quote": str(data.get("text") or "")}


def _resolution_due(data: Mapping[str, Any]) -> dict[str, Any]:
    amount = _figure(data, "amount_due_outside")
    return {"title": f"{amount} is due as store credit or in an exchange".strip(), "icon": "desk"}


def _tell_receipt(data: Mapping[str, Any]) -> dict[str, Any]:
    shown = _object(data)
    lines = [line for line in shown.get("lines", []) if isinstance(line, Mapping)]
    aside = sum(item.get("quantity", 0) for item in shown.get("undeclared", []))
    units = sum(line.get("quantity", 0) for line in lines)
    parts = [f"{line['quantity']} × {isolate(line['sku'])} ({CONDITIONS.get(line['condition'], '')})" for line in lines]
    put_aside = f"{plural(aside, 'unit')} put aside"
    if not units and aside:
        return {"title": put_aside, "icon": "box"}
    if len(parts) > MOST_PARTS:
        parts = [*parts[:MOST_PARTS], plural(len(parts) - MOST_PARTS, "more line")]
    parts += [put_aside] if aside else []
    return {"title": f"{plural(units, 'unit')} received", "detail": ", ".join(parts), "icon": "box"}


def _taken_back(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": "A receipt was taken back", "icon": "undo", "quote": _reason(data)}


def _tell_correction(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": "A receipt was corrected", "icon": "sync", "quote": _reason(data)}


def _refund_created(data: Mapping[str, Any]) -> dict[str, Any]:
    shown = _object(data)
    status, amount = str(shown.get("status")), _money(shown)
    if status == "settled_outside":
        way = METHODS.get(str(shown.get("method")), "another way")
        reference = isolate(str(shown.get("reference")))
        return {"title": f"{amount} settled outside: {way}", "icon": "refunded", "state": "refunded",
                "detail": f"Reference {reference}", "quote": shown.get("note") or ""}  # fmt: skip
    if shown.get("source") == "external":
        return {"title": f"{amount} refunded in Stripe’s Dashboard", "icon": "out", "state": "refunded"}
    if shown.get("waiting_code") == "second_person":
        return {"title": f"{amount} decided; a second person has to agree", "icon": "clock",
                "quote": shown.get("note") or ""}  # fmt: skip
    return {"title": f"{amount} decided, goes to Stripe", "icon": "refunding", "state": "refunding",
            "quote": shown.get("note") or ""}  # fmt: skip


def _refund_approved(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": f"{_money(_object(data))} approved by a second person, goes to Stripe", "icon": "approved",
            "state": "refunding", "quote": data.get("note") or ""}  # fmt: skip


def _refund_changed(data: Mapping[str, Any]) -> dict[str, Any]:
    shown = _object(data)
    icon, state, words = STATUSES.get(str(data.get("to") or shown.get("status")), ("info", None, "changed"))
    failure = shown.get("failure")
    detail = str(failure.get("message") or "") if isinstance(failure, Mapping) else ""
    if state not in ("failed", "canceled"):
        detail = ""
    return {"title": f"{_money(shown)} {words}", "icon": icon, "state": state, "detail": detail}


def _attempt_failed(data: Mapping[str, Any]) -> dict[str, Any]:
    message = data.get("message")
    return {"title": f"{_money(_object(data))}: an attempt failed, it is tried again", "icon": "clock",
            "detail": message if isinstance(message, str) else ""}  # fmt: skip


def _stuck(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": f"{_money(_object(data))} is stuck: it needs a person", "icon": "desk", "detail": _reason(data)}


def _payment(data: Mapping[str, Any]) -> dict[str, Any]:
    if "acknowledged" in data:
        return {"title": "Acknowledged: a refund made outside", "icon": "check", "quote": _reason(data)}
    return {"title": "The payment changed at Stripe", "icon": "sync"}


def _overpaid(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": "Stripe holds a second refund for one decision", "icon": "desk"}


def _other(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": "Something happened"}


_TELLERS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "return.created": _tell_request, "return.state_changed": _state_changed, "return.updated": _tell_update,
    "return.note_added": _note_added, "return.resolution_due": _resolution_due,
    "receipt.created": _tell_receipt, "receipt.reversed": _taken_back, "receipt.corrected": _tell_correction,
    "refund.created": _refund_created, "refund.approved": _refund_approved, "refund.status_changed": _refund_changed,
    "refund.attempt_failed": _attempt_failed, "refund.stuck": _stuck, "payment.updated": _payment,
    "payment.overpaid": _overpaid,
}  # fmt: skip
