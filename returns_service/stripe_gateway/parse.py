"""From Stripe's JSON to our words. Pure: dicts in, dataclasses out, `Unreadable` for what can't be believed.

Shapes: https://docs.stripe.com/api/refunds/object, …/charges/object, …/payment_intents/object, …/disputes/object,
…/events/object. Amounts are minor units, times whole Unix seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from returns_service.domain.stripe_objects import (
    ChargeSnapshot,
    DisputeSnapshot,
    ListedCharge,
    PaymentSnapshot,
    RefundSnapshot,
    StripeEventData,
)

EPOCH = datetime.fromtimestamp(0, UTC)  # the time of an event that has none; its `unreadable` says so

# Card brands as people know them; another brand is shown as Stripe writes it.
BRANDS = {
    "amex": "American Express",
    "cartes_bancaires": "Cartes Bancaires",
    "diners": "Diners Club",
    "eftpos_au": "eftpos",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
    "visa": "Visa",
}


class Unreadable(ValueError):
    """An object from Stripe lacks what it must have, or has it in another form."""


def refund_of(thing: Any, *, replayed: bool = False) -> RefundSnapshot:
    """Return the Refund in `thing`; `replayed` marks a stored answer. Raises Unreadable."""
    refund = _object(thing, "refund")
    details = _mapping(refund.get("destination_details"))
    way = _mapping(details.get(str(details.get("type"))))
    return RefundSnapshot(
        id=_text(refund, "id"),
        # Typed as nullable, for very old refunds: the weakest status, so that nobody takes it for money that arrived.
        status=_optional(refund, "status") or "pending",
        amount=_whole(refund, "amount"),
        currency=_text(refund, "currency"),
        payment_intent=_link(refund, "payment_intent"),
        charge=_link(refund, "charge"),
        created=_moment(refund, "created"),
        reason=_words(refund.get("reason")),
        metadata=_labels(refund.get("metadata")),
        failure_reason=_words(refund.get("failure_reason")),
        pending_reason=_words(refund.get("pending_reason")),
        next_action=_mapping(refund.get("next_action")) or None,
        arrival_reference=_words(way.get("reference")),
        arrival_kind=_words(way.get("type")),
        replayed=replayed,
    )


def charge_of(thing: Any) -> ChargeSnapshot:
    """Return the Charge in `thing`, without its refunds. Raises Unreadable."""
    charge = _object(thing, "charge")
    return ChargeSnapshot(
        id=_text(charge, "id"),
        payment_intent=_link(charge, "payment_intent"),
        currency=_text(charge, "currency"),
        captured=captured_of(charge),
        amount_refunded=_whole(charge, "amount_refunded"),
    )


def listed_charge_of(thing: Any) -> ListedCharge:
    """Return the Charge in `thing` as far as sums need it. Raises Unreadable."""
    charge = _object(thing, "charge")
    return ListedCharge(
        created=_moment(charge, "created"), currency=_text(charge, "currency"), captured=captured_of(charge)
    )


def dispute_of(thing: Any) -> DisputeSnapshot:
    """Return the Dispute in `thing`. Raises Unreadable."""
    dispute = _object(thing, "dispute")
    charge = _link(dispute, "charge")
    if charge is None:
        raise Unreadable("dispute names no charge")
    status = _text(dispute, "status")
    return DisputeSnapshot(
        id=_text(dispute, "id"),
        status=status,
        charge=charge,
        payment_intent=_link(dispute, "payment_intent"),
        amount=_whole(dispute, "amount"),
        currency=_text(dispute, "currency"),
        bars_refunds=bars_refunds(status, dispute.get("is_charge_refundable")),
        answer_by=_answer_by(status, _mapping(dispute.get("evidence_details"))),
    )


def _answer_by(status: str, evidence: Mapping[str, Any]) -> datetime | None:
    """Return until when evidence can be sent: https://docs.stripe.com/api/disputes/object."""
    if not status.endswith("needs_response"):
        return None
    try:
        return _moment(evidence, "due_by")
    except Unreadable:  # null where no evidence is taken; a help for people holds no money's news up
        return None


def bars_refunds(status: str, is_charge_refundable: object) -> bool:
    """Say whether a dispute bars refunds: formal, not won, and not called refundable by Stripe.

    Inquiries (`warning_*`) never do: https://docs.stripe.com/disputes/how-disputes-work#inquiries.
    """
    return not status.startswith("warning_") and status != "won" and is_charge_refundable is not True


def captured_of(charge: Mapping[str, Any]) -> int:
    """Return what was captured, in minor units; 0 unless the charge succeeded. Raises Unreadable.

    Authorizations that were canceled before 2025-03-31.basil have null there.
    """
    if charge.get("status") != "succeeded" or charge.get("amount_captured") is None:
        return 0
    return _whole(charge, "amount_captured")


def _decides(dispute: DisputeSnapshot) -> tuple[bool, bool]:
    """Rank a payment's disputes: lost is lost, whatever others end like; of equals the first listed, the latest."""
    return dispute.status == "lost", dispute.bars_refunds


def payment_of(
    intent: Mapping[str, Any] | None,
    charge: Mapping[str, Any] | None,
    refunds: Sequence[RefundSnapshot],
    disputes: Sequence[DisputeSnapshot],
    releases: frozenset[str] = frozenset(),
) -> PaymentSnapshot:
    """Join a PaymentIntent, its charge, all its refunds and its disputes. Raises Unreadable.

    `releases`: the ids of refunds that are none.
    """
    owner = intent if intent is not None else charge
    if owner is None:
        raise Unreadable("a payment needs a PaymentIntent or a charge")
    livemode = owner.get("livemode")
    if not isinstance(livemode, bool):
        raise Unreadable("payment doesn't say whether it is live")
    released = sum(refund.amount for refund in refunds if refund.id in releases)
    return PaymentSnapshot(
        payment_intent=_text(intent, "id") if intent is not None else None,
        charge=_text(charge, "id") if charge is not None else None,
        currency=_text(owner, "currency"),
        status=_text(owner, "status"),
        captured=captured_of(charge) if charge is not None else 0,
        livemode=livemode,
        disputed=any(dispute.bars_refunds for dispute in disputes),
        dispute=max(disputes, key=_decides, default=None),
        connect=any(_goes_to_others(part) for part in (intent, charge) if part is not None),
        amount_refunded=_whole(charge, "amount_refunded") - released if charge is not None else 0,
        # One of nothing moves no money.
        refunds=tuple(refund for refund in refunds if refund.amount and refund.id not in releases),
        method=_method(charge) if charge is not None else None,
        method_type=_method_type(charge) if charge is not None else None,
        paid_at=_moment(charge, "created") if charge is not None else None,
        authorized=_whole(charge, "amount") if charge is not None else 0,
        released=released,
    )


def event_data_of(event: Mapping[str, Any], raw: str) -> StripeEventData:
    """Return the news in a genuine event; `raw` is its body.

    Only a body without an event id raises Unreadable. All else that is odd makes `object` None and is told in
    `unreadable`, because a genuine event must be kept even where we don't understand it.
    """
    event_id = _text(event, "id")
    kind = _words(event.get("type")) or "unknown"
    livemode = event.get("livemode")
    created, seen, why = EPOCH, None, None
    names: tuple[str | None, str | None] = (None, None)
    try:
        created = _event_moment(event)
        if not isinstance(livemode, bool):
            raise Unreadable("event doesn't say whether it is live")
        reader = None if event.get("object") == "v2.core.event" else _reader(kind)  # thin events carry no object
        if reader is not None:
            seen = reader(_mapping(event.get("data")).get("object"))
            seen = None if isinstance(seen, RefundSnapshot) and not seen.amount else seen  # moves no money: no news
    except Unreadable as error:
        why, names = str(error), _names_in(_mapping(event.get("data")).get("object"))
    account = _words(event.get("account")) or _words(event.get("context"))
    return StripeEventData(event_id, kind, created, livemode is True, account, seen, raw, names, why)


def is_asked_for(seen: RefundSnapshot, parameters: Mapping[str, Any]) -> bool:
    """Say whether the refund is the one that was asked for: amount, payment, our id in its metadata."""
    asked = parameters.get("metadata") or {}
    return (
        seen.amount == parameters["amount"]
        and parameters.get("payment_intent") in (None, seen.payment_intent)
        and parameters.get("charge") in (None, seen.charge)
        and seen.metadata.get("refund_id") == asked.get("refund_id", seen.metadata.get("refund_id"))
    )


def demand(thing: Mapping[str, Any], name: str, asked: str) -> None:
    """Raise Unreadable unless `thing` is the object that was asked for."""
    if thing.get("object") != name or thing.get("id") != asked:
        raise Unreadable(f"another object than the {name} asked for")


def event_from(body: str) -> Mapping[str, Any]:
    """Return the JSON object in `body`. Raises ValueError (Unreadable is one) for anything else."""
    try:
        event = json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise Unreadable("body is nested too deeply") from None
    if not isinstance(event, dict):
        raise Unreadable("body is no JSON object")
    return event


def clean(value: str) -> str:
    """Return `value` without what a database refuses: NUL and lone surrogates become U+FFFD."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def _reader(kind: str) -> Callable[[Any], RefundSnapshot | ChargeSnapshot | DisputeSnapshot] | None:
    if kind.startswith("refund.") or kind == "charge.refund.updated":
        return refund_of
    if kind in ("charge.refunded", "charge.captured", "charge.updated"):
        return charge_of
    return dispute_of if kind.startswith("charge.dispute.") else None


def _goes_to_others(part: Mapping[str, Any]) -> bool:
    """Say whether money of this payment went to, or is owed by, a connected account."""
    fields = ("transfer_data", "transfer", "on_behalf_of", "application_fee", "application_fee_amount")
    return any(part.get(field) for field in fields)


def _method_type(charge: Mapping[str, Any]) -> str | None:
    return _words(_mapping(charge.get("payment_method_details")).get("type"))


def _names_in(thing: Any) -> tuple[str | None, str | None]:
    """Return the PaymentIntent and the charge that an object names which can't be read otherwise; None: neither."""
    found = _mapping(thing)
    try:
        charge = _link(found, "id") if found.get("object") == "charge" else _link(found, "charge")
        return _link(found, "payment_intent"), charge
    except Unreadable:
        return None, None


def _method(charge: Mapping[str, Any]) -> str | None:
    details = _mapping(charge.get("payment_method_details"))
    kind = _words(details.get("type"))
    if not kind:
        return None
    way = _mapping(details.get(kind))
    brand = _words(way.get("brand")) or ""
    name = BRANDS.get(brand) or (brand or kind).replace("_", " ").capitalize()
    last4 = _words(way.get("last4"))
    return f"{name} ending {last4}" if last4 else name


def _event_moment(event: Mapping[str, Any]) -> datetime:
    created = event.get("created")
    if not isinstance(created, str):
        return _moment(event, "created")
    try:  # thin events write RFC 3339
        moment = datetime.fromisoformat(created)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Unreadable("`created` is no time") from None


def _object(thing: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(thing, dict):
        raise Unreadable(f"no {name} where one was expected")
    if thing.get("object") != name:
        raise Unreadable(f"`object` isn't {name}")
    return thing


def _text(thing: Mapping[str, Any], field: str) -> str:
    value = thing.get(field)
    if not isinstance(value, str) or not value or value != clean(value):
        raise Unreadable(f"`{field}` is no text")
    return value


def _optional(thing: Mapping[str, Any], field: str) -> str | None:
    return None if thing.get(field) is None else _text(thing, field)


def _whole(thing: Mapping[str, Any], field: str) -> int:
    value = thing.get(field)
    if type(value) is not int or not 0 <= value < 2**63:  # not bool, and no more than a column holds
        raise Unreadable(f"`{field}` is no amount")
    return value


def _moment(thing: Mapping[str, Any], field: str) -> datetime:
    value = thing.get(field)
    try:
        if type(value) is int:
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise Unreadable(f"`{field}` is no time")


def _link(thing: Mapping[str, Any], field: str) -> str | None:
    """Return the id behind a link, expanded or not; absent and null are the same."""
    value = thing.get(field)
    return _text(value, "id") if isinstance(value, dict) else _optional(thing, field)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> str | None:
    """Return a text that only people read, or None: its oddity is no reason to doubt the rest."""
    return clean(value) if isinstance(value, str) else None


def _labels(value: Any) -> dict[str, str]:
    return {clean(key): clean(label) for key, label in _mapping(value).items() if isinstance(label, str)}


def _refuse(word: str) -> NoReturn:
    raise Unreadable(f"{word} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Unreadable("a number is too large")
    return number
