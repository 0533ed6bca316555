"""The policy in force: what people and programs have to know before they ask for a return or a refund."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from returns_service.domain.policy import to_dict
from returns_service.domain.vocabulary import (
    Condition,
    ExternalRefunds,
    RefundOn,
    ShippingRefunded,
    StripeReason,
    WindowFrom,
)
from returns_service.return_case.views.fields import Count, minor_units
from returns_service.store.database import Tx
from returns_service.web.operations.operation import Empty, Operation, OperationCall, Reply, reads

AmountByCurrency = dict[str, Annotated[int, minor_units("By lowercase currency.")]]


class RestockingView(Struct, kw_only=True):
    """The fee for units in one condition."""

    basis_points: Annotated[int, Meta(ge=0, description="Hundredths of a percent of the units' worth.")]
    fixed: AmountByCurrency


class ReasonView(Struct, kw_only=True):
    """An entry of the catalogue of reasons."""

    label: Annotated[str, Meta(description="What customers see.")]
    stripe: Annotated[StripeReason, Meta(description="The reason that Stripe is told.")]
    restocking: Annotated[bool, Meta(description="False: no restocking fee.")]


class PolicyView(Struct, kw_only=True, tag_field="object", tag="policy"):
    """The return policy."""

    window_days: Count
    window_from: WindowFrom
    time_zone: Annotated[str, Meta(description="The window ends with a day of this zone.")]
    external_refunds: Annotated[
        ExternalRefunds, Meta(description="What a refund made in Stripe's Dashboard does to its payment's others.")
    ]
    refund_on: RefundOn
    refund_delay: Annotated[int, Meta(ge=0, description="Seconds between the count and its refund.")]
    accepted_conditions: list[Condition]
    excluded_skus: Annotated[list[str], Meta(description="Shell patterns, whatever the capitals.")]
    shipping_refunded: ShippingRefunded
    auto_approve_below: AmountByCurrency
    second_person_above: AmountByCurrency
    label_cost: AmountByCurrency
    refund_rate_alert: float
    restocking: Annotated[dict[str, RestockingView], Meta(description="By condition.")]
    reasons: Annotated[dict[str, ReasonView], Meta(description="The catalogue of reasons, by the word to send.")]


@reads("/v1/policy", "Policy", PolicyView)
async def read_policy(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read the return policy in force.

    A return goes by the policy that was in force when it was approved: see its `policy`.
    """
    return Reply(msgspec.convert(to_dict(call.policy), PolicyView))


OPERATIONS: tuple[Operation, ...] = (read_policy,)
