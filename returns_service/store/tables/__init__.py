"""All tables. Constraints and partial indexes are the law; none of them bars what Stripe says.

Amounts are minor units, times are UTC.
"""

from sqlmodel import SQLModel

from returns_service.store.tables.charges import ChargeTotal
from returns_service.store.tables.core import (
    Event,
    IdempotencyKey,
    Payment,
    Refund,
    RefundWord,
    ReturnAuthorization,
    ReturnLine,
    SearchWord,
    StripeEvent,
    StripePace,
    Sweep,
)
from returns_service.store.tables.dock import DockScan
from returns_service.store.tables.imports import ImportedReturn
from returns_service.store.tables.mail import Mail, StaffMail
from returns_service.store.tables.people import (
    ApiKey,
    Device,
    SavedView,
    SignInLink,
    SignInThrottle,
    StaffSession,
    StaffUser,
)
from returns_service.store.tables.policy import PolicyVersion
from returns_service.store.tables.portal import Photo, PortalSession
from returns_service.store.tables.receipts import Receipt, ReceiptLine, UndeclaredItem, UnmatchedReceipt
from returns_service.store.tables.reconciliation import ReconciliationDifference, ReconciliationRun
from returns_service.store.tables.stripe import StripeAccount, StripeRefusal
from returns_service.store.tables.webhooks import Delivery, WebhookEndpoint

METADATA = SQLModel.metadata  # filled by the modules above

__all__ = [
    "ApiKey",
    "ChargeTotal",
    "Delivery",
    "Device",
    "DockScan",
    "Event",
    "IdempotencyKey",
    "ImportedReturn",
    "Mail",
    "Payment",
    "Photo",
    "PolicyVersion",
    "PortalSession",
    "Receipt",
    "ReceiptLine",
    "ReconciliationDifference",
    "ReconciliationRun",
    "Refund",
    "RefundWord",
    "ReturnAuthorization",
    "ReturnLine",
    "SavedView",
    "SearchWord",
    "SignInLink",
    "SignInThrottle",
    "StaffMail",
    "StaffSession",
    "StaffUser",
    "StripeAccount",
    "StripeEvent",
    "StripePace",
    "StripeRefusal",
    "Sweep",
    "UndeclaredItem",
    "UnmatchedReceipt",
    "WebhookEndpoint",
]
