"""All tables. Constraints and partial indexes are the law; none of them bars what Stripe says.

Amounts are minor units, times are UTC.
"""

from sqlmodel import SQLModel

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

from returns_service.store.tables.core import (  # noqa: E402  (the naming convention comes before any table)
    Event,
    IdempotencyKey,
    Payment,
    Receipt,
    ReceiptLine,
    Refund,
    ReturnAuthorization,
    ReturnLine,
    SearchWord,
    StripeEvent,
    StripePace,
    Sweep,
    UndeclaredItem,
)
from returns_service.store.tables.people import ApiKey, StaffUser  # noqa: E402
from returns_service.store.tables.reconciliation import ReconciliationDifference, ReconciliationRun  # noqa: E402
from returns_service.store.tables.webhooks import Delivery, WebhookEndpoint  # noqa: E402

__all__ = [
    "ApiKey",
    "Delivery",
    "Event",
    "IdempotencyKey",
    "Payment",
    "Receipt",
    "ReceiptLine",
    "ReconciliationDifference",
    "ReconciliationRun",
    "Refund",
    "ReturnAuthorization",
    "ReturnLine",
    "SearchWord",
    "StaffUser",
    "StripeEvent",
    "StripePace",
    "Sweep",
    "UndeclaredItem",
    "WebhookEndpoint",
]
