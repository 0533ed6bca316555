"""The customer's portal: the shop's backend asks for a link; the customer sends what they ticked."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from pydantic import AfterValidator, Field
from sqlmodel import col, select

from returns_service.commands import portal
from returns_service.commands.return_lines import NewLine
from returns_service.commands.stripe_fold import adopt_payment
from returns_service.domain.problems import Problem
from returns_service.domain.signed_link import sign_link
from returns_service.domain.vocabulary import RESOLUTIONS, Resolution
from returns_service.return_case.views import ReturnView, rfc3339
from returns_service.return_case.views.fields import Currency as CurrencyField
from returns_service.return_case.views.fields import PaymentId, Time, id_of
from returns_service.shop_settings import Language
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, PortalSession
from returns_service.web.context import Context
from returns_service.web.operations.ask_stripe import Target, payment_at_stripe, payment_in, stripe_of, target_of
from returns_service.web.operations.bodies import (
    Amount,
    Body,
    Currency,
    Email,
    Id,
    Moment,
    Name,
    Person,
    Title,
    Units,
    once_each,
)
from returns_service.web.operations.operation import Operation, OperationCall, Reply, StripeRead, writes
from returns_service.web.operations.returns import MOST_BARCODES, reply_with

TAG = "Portal"
MOST_PORTAL_LINES = 200  # a page that a person reads
LINE_EXAMPLE = {"sku": "SHIRT", "title": "Blue shirt", "quantity": 3, "total_amount": 10000, "order_line": "1"}


class OfferedLineBody(Body):
    """Units of one SKU that the customer may send back. `total_amount` is what they paid for them, tax included."""

    sku: Name
    title: Title | None = None
    quantity: Units
    total_amount: Amount
    order_line: Name | None = None
    quantity_ordered: Units | None = None
    barcodes: list[Name] = Field(default_factory=list, max_length=MOST_BARCODES)


class CreatePortalSession(Target):
    """What a customer may send back of an order. The payment is named by `payment_intent` or by `charge`."""

    order_id: Name
    currency: Currency
    lines: list[OfferedLineBody] = Field(min_length=1, max_length=MOST_PORTAL_LINES)
    shipping_amount: Amount = 0
    customer_email: Email | None = None
    customer_name: Person | None = None
    purchased_at: Moment | None = None
    delivered_at: Moment | None = None
    locale: Language | None = None
    resolutions: Annotated[list[Resolution], AfterValidator(once_each)] = Field(
        default_factory=lambda: list(RESOLUTIONS), min_length=1, max_length=len(RESOLUTIONS)
    )

    def new_session(self) -> portal.NewSession:
        """Return it as the command takes it."""
        return portal.NewSession(
            order_id=self.order_id,
            currency=self.currency,
            lines=[NewLine(**line.model_dump()) for line in self.lines],
            shipping_amount=self.shipping_amount,
            customer_email=self.customer_email,
            customer_name=self.customer_name,
            purchased_at=self.purchased_at,
            delivered_at=self.delivered_at,
            locale=self.locale,
            resolutions=self.resolutions,
        )


class SendPicks(Body):
    """A portal session, and the amounts that its customer was shown, minor units: refunded, and given otherwise."""

    session: Id
    amount: Amount
    amount_outside: Amount = 0


class PortalSessionView(msgspec.Struct, kw_only=True, tag_field="object", tag="portal_session"):
    """A link for one customer and one order."""

    id: Annotated[str, id_of("pts")]
    created: Time
    livemode: bool
    order_id: str
    payment: PaymentId
    currency: CurrencyField
    locale: Language | None
    resolutions: Annotated[list[Resolution], Meta(description="What the customer may choose from.")]
    url: Annotated[str, Meta(description="Give it to this customer alone: whoever opens it acts as them.")]
    expires_at: Time


def show_session(context: Context, row: PortalSession, payment: Payment) -> PortalSessionView:
    """Return a session with its link."""
    return PortalSessionView(
        id=row.id,
        created=rfc3339(row.created_at),
        livemode=payment.livemode,
        order_id=row.order_id,
        payment=row.payment_id,
        currency=row.currency,
        locale=msgspec.convert(row.locale, Language | None),
        resolutions=msgspec.convert(row.resolutions or RESOLUTIONS, list[Resolution]),
        url=f"{context.public_url}/portal/{sign_link(context.link_keys[0], row.id, row.expires_at)}",
        expires_at=rfc3339(row.expires_at),
    )


async def read_offered_payment(call: OperationCall[CreatePortalSession]) -> StripeRead:
    """Ask Stripe for the payment, before anything is written."""
    return await payment_at_stripe(call.context, call.body)


@writes(
    "/v1/portal_sessions", TAG, PortalSessionView,
    scope="returns:write", body=CreatePortalSession, status=201,
    before_transaction=read_offered_payment,
    example={
        "order_id": "order_98765", "payment_intent": "pi_3PxExample", "currency": "usd", "lines": [LINE_EXAMPLE],
        "purchased_at": "2026-01-02T03:04:05Z", "customer_email": "customer@example.com", "locale": "de",
    },
    errors=(
        "amount_exceeds_payment", "amount_not_a_step", "currency_mismatch", "payment_not_succeeded", "payment_missing",
        "charge_mismatch", "connect_not_supported", "stripe_unavailable", "stripe_refuses_us",
        "quantity_exceeds_ordered", "quantity_ordered_differs",
    ),
)  # fmt: skip
async def create_portal_session(call: OperationCall[CreatePortalSession], tx: Tx) -> Reply:
    """Make a link to the portal for one customer and one order.

    By its `url` the customer sends items back without an account, until `expires_at`: what they send is a return as
    `POST /v1/returns` makes it. A link makes one return; for more of the same order, make another link. Name
    `order_line` and `quantity_ordered`, so that no unit is sent back twice.
    """
    locked = await adopt_payment(tx, stripe_of(call), call.policy, payment_in(call.stripe_read))
    row = await portal.create_session(locked, call.by, call.body.new_session(), call.context.settings.portal_days)
    return Reply(show_session(call.context, row, locked.row))


async def read_session_payment(call: OperationCall[SendPicks]) -> StripeRead:
    """Ask Stripe for the payment of a session, before anything is written."""
    chosen = select(Payment).join(PortalSession, col(PortalSession.payment_id) == col(Payment.id))
    async with call.context.database.reading() as tx:
        payment = (await tx.exec(chosen.where(col(PortalSession.id) == call.body.session))).first()
    if payment is None:
        raise Problem("not_found", f"There is no portal session {call.body.session}.")
    return await payment_at_stripe(call.context, target_of(payment))


async def send_picks(call: OperationCall[SendPicks], tx: Tx) -> Reply:
    """Send back what the customer ticked.

    It is the command of `POST /v1/returns`, asked by a customer instead of the shop's backend.
    """
    locked = await adopt_payment(tx, stripe_of(call), call.policy, payment_in(call.stripe_read))
    body = call.body
    return reply_with(await portal.send(locked, call.by, call.policy, body.session, body.amount, body.amount_outside))


# Not among the API's operations: only the holder of a link may ask for it, by the portal's page.
SEND_PICKS = Operation(
    method="POST", path="/portal", name="send_picks", summary="", description="", tag=TAG, scope="returns:write",
    work=send_picks, answer=ReturnView, body=SendPicks, before_transaction=read_session_payment,
)  # fmt: skip
OPERATIONS: tuple[Operation, ...] = (create_portal_session,)
