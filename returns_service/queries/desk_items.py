"""Things on the desk as they are answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from sqlmodel import col, select

from returns_service.domain.policy import Policy
from returns_service.domain.vocabulary import DESK_KINDS, DeskAction, DeskKind
from returns_service.queries.desk import DeskEntry, DeskFigures
from returns_service.queries.desk_explanations import EXPLANATIONS
from returns_service.queries.system_health import SystemHealth
from returns_service.return_case.loader import load_cases
from returns_service.return_case.views import rfc3339
from returns_service.return_case.views.fields import (
    Count,
    Currency,
    EndpointId,
    PaymentId,
    RunId,
    Time,
    UndeclaredItemId,
    UnmatchedReceiptId,
    minor_units,
)
from returns_service.store.database import Tx
from returns_service.store.tables import Refund


class DeskItemView(Struct, kw_only=True, tag_field="object", tag="desk_item", rename={"return_": "return"}):
    """One thing that waits for a person.

    An action is POSTed to `/v1/refunds/{refund}/{action}`, or without a refund to `/v1/returns/{return}/{action}`.
    """

    id: Annotated[str, Meta(pattern="^[a-z_]+:.+$")]
    kind: DeskKind
    since: Time
    return_: str | None
    order_id: str | None
    refund: str | None
    payment: PaymentId | None
    amount: Annotated[int | None, minor_units("What it is about.")]
    currency: Currency | None
    answer_by: Annotated[Time | None, Meta(description="Until then the dispute has to be answered.")]
    code: str
    message: Annotated[str, Meta(description="What happened, in plain words.")]
    advice: Annotated[str, Meta(description="What can be done now.")]
    actions: list[DeskAction]
    attempts: Count | None
    next_attempt_at: Time | None
    stripe_event: str | None
    webhook_endpoint: EndpointId | None
    reconciliation: RunId | None
    undeclared_item: UndeclaredItemId | None
    unmatched_receipt: UnmatchedReceiptId | None


TOTALS = {"properties": {kind: {"type": "integer", "minimum": 0} for kind in DESK_KINDS}, "required": list(DESK_KINDS)}


class DeskItemListView(Struct, kw_only=True, tag_field="object", tag="list"):
    """One page, most urgent first, then oldest."""

    url: str
    has_more: bool
    data: list[DeskItemView]
    totals: Annotated[
        dict[DeskKind, Count],
        Meta(description="How many there are in all, by kind.", extra_json_schema=TOTALS),
    ]


def show_entry(tx: Tx, entry: DeskEntry, health: SystemHealth) -> DeskItemView:
    """Return one thing on the desk. Amounts in minor units."""
    said = EXPLANATIONS[entry.kind](tx, entry, health)
    refund, case, event = entry.refund, entry.case, entry.stripe_event
    view = DeskItemView(
        id=entry.id,
        kind=entry.kind,
        since=rfc3339(entry.since),
        return_=case.id if case else None,
        order_id=case.order_id if case else None,
        refund=refund.id if refund else None,
        payment=entry.payment.id if entry.payment else None,
        amount=refund.amount if refund else None,
        currency=refund.currency if refund else case.currency if case else None,
        answer_by=None,
        code=said.code,
        message=said.message,
        advice=said.advice,
        actions=list(said.actions),
        attempts=refund.attempts if refund else event.attempts if event else None,
        next_attempt_at=rfc3339(refund.next_attempt_at if refund else event.next_attempt_at if event else None),
        stripe_event=event.id if event else None,
        webhook_endpoint=entry.endpoint.id if entry.endpoint else None,
        reconciliation=entry.difference.run_id if entry.difference else None,
        undeclared_item=entry.undeclared.id if entry.undeclared else None,
        unmatched_receipt=entry.unmatched.id if entry.unmatched else None,
    )
    return msgspec.structs.replace(view, **said.facts)


async def explain_entries(
    tx: Tx, policy: Policy, found: Sequence[DeskEntry], health: SystemHealth
) -> list[tuple[DeskEntry, DeskItemView]]:
    """Return things on the desk with their returns as a whole, each beside its explanation."""
    named = sorted({entry.case.id for entry in found if entry.case})
    cases = {case.row.id: case for case in await load_cases(tx, policy, named)}
    alone = [entry.payment.id for entry in found if entry.payment and entry.refund and not entry.case]
    of_payment = await _refunds_by_payment(tx, alone)
    entries = []
    for entry in found:
        whole = cases.get(entry.case.id) if entry.case else None
        beside = whole.payment_refunds if whole else of_payment.get(entry.payment.id, ()) if entry.payment else ()
        entries.append(replace(entry, whole=whole, payment_refunds=beside))
    return [(entry, show_entry(tx, entry, health)) for entry in entries]


async def _refunds_by_payment(tx: Tx, payment_ids: Iterable[str]) -> dict[str, list[Refund]]:
    """Return all refunds of payments: what can be done about one of no return hangs on those beside it."""
    found: dict[str, list[Refund]] = {payment_id: [] for payment_id in payment_ids}
    if found:
        chosen = select(Refund).where(col(Refund.payment_id).in_(found)).order_by(col(Refund.id))
        for refund in (await tx.exec(chosen)).all():
            found[refund.payment_id].append(refund)
    return found


async def show_page(
    tx: Tx,
    policy: Policy,
    found: Sequence[DeskEntry],
    figures: DeskFigures,
    *,
    has_more: bool,
) -> DeskItemListView:
    """Return a page of the desk as it is answered, with how many things of each kind there are in all."""
    return DeskItemListView(
        url="/v1/desk",
        has_more=has_more,
        data=[view for _, view in await explain_entries(tx, policy, found, figures.health)],
        totals={total.kind: total.number for total in figures.totals},
    )
