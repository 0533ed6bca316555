"""The types of fields that answers share; each carries what the contract says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, overload

from msgspec import Meta

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Count = Annotated[int, Meta(ge=0)]
HttpStatus = Annotated[int, Meta(ge=100, le=599)]
Currency = Annotated[str, Meta(pattern="^[a-z]{3}$", examples=["usd"])]

SlipCode = Annotated[
    str,
    Meta(pattern="^[0-9]{10}$", description="Ten digits that the dock types or scans; the last one checks the others."),
]


ID_PATTERN = "^{}_[0-9a-z]{{26}}$"
PAYMENT_INTENT_PATTERN = "^pi_[A-Za-z0-9_]+$"
CHARGE_PATTERN = "^(ch|py)_[A-Za-z0-9_]+$"
PaymentIntentId = Annotated[str, Meta(pattern=PAYMENT_INTENT_PATTERN)]
ChargeId = Annotated[str, Meta(pattern=CHARGE_PATTERN)]
PolicyVersionId = Annotated[str, Meta(pattern="^pol_[0-9a-f]{16}$")]
StripeRefundId = Annotated[str, Meta(pattern="^(re|pyr)_[A-Za-z0-9_]+$")]


def id_of(prefix: str) -> Meta:
    """Return what the ids of one kind look like."""
    return Meta(pattern=ID_PATTERN.format(prefix))


def minor_units(said: str) -> Meta:
    """Return the description of an amount."""
    return Meta(description=f"{said} Minor units.", extra_json_schema={"format": "int64"})


ReturnId = Annotated[str, id_of("ret")]
ReturnLineId = Annotated[str, id_of("rli")]
ReceiptId = Annotated[str, id_of("rcp")]
UndeclaredItemId = Annotated[str, id_of("und")]
UnmatchedReceiptId = Annotated[str, id_of("umr")]
RefundId = Annotated[str, id_of("rfd")]
PaymentId = Annotated[str, id_of("pay")]
EventId = Annotated[str, id_of("evt")]
RunId = Annotated[str, id_of("rec")]
EndpointId = Annotated[str, id_of("whe")]


@overload
def rfc3339(time: datetime) -> str: ...
@overload
def rfc3339(time: datetime | None) -> str | None: ...
def rfc3339(time: datetime | None) -> str | None:
    """Return a time as RFC 3339, UTC, whole seconds."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z" if time else None
