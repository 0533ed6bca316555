"""A factory for each table: what a test does not name has a sensible default, parents are made where none is given.

The files mirror `returns_service/store/tables`. Amounts are minor units, times UTC.
"""

from tests.factories.charges import create_charge_total
from tests.factories.core import (
    create_event,
    create_idempotency_key,
    create_payment,
    create_receipt,
    create_receipt_line,
    create_refund,
    create_refund_word,
    create_return,
    create_return_line,
    create_search_word,
    create_stripe_event,
    create_stripe_pace,
    create_sweep,
    create_undeclared_item,
    create_unmatched_receipt,
)
from tests.factories.dock import create_dock_scan
from tests.factories.imports import create_imported_return
from tests.factories.mail import create_mail, create_staff_mail
from tests.factories.people import (
    create_api_key,
    create_device,
    create_saved_view,
    create_sign_in_link,
    create_sign_in_throttle,
    create_staff_session,
    create_staff_user,
)
from tests.factories.policy import create_policy_version
from tests.factories.portal import create_photo, create_portal_session
from tests.factories.reconciliation import create_reconciliation_difference, create_reconciliation_run
from tests.factories.stripe import create_stripe_account, create_stripe_refusal
from tests.factories.webhooks import create_delivery, create_webhook_endpoint

__all__ = [
    "create_api_key",
    "create_charge_total",
    "create_delivery",
    "create_device",
    "create_dock_scan",
    "create_event",
    "create_idempotency_key",
    "create_imported_return",
    "create_mail",
    "create_payment",
    "create_photo",
    "create_policy_version",
    "create_portal_session",
    "create_receipt",
    "create_receipt_line",
    "create_reconciliation_difference",
    "create_reconciliation_run",
    "create_refund",
    "create_refund_word",
    "create_return",
    "create_return_line",
    "create_saved_view",
    "create_search_word",
    "create_sign_in_link",
    "create_sign_in_throttle",
    "create_staff_mail",
    "create_staff_session",
    "create_staff_user",
    "create_stripe_account",
    "create_stripe_event",
    "create_stripe_pace",
    "create_stripe_refusal",
    "create_sweep",
    "create_undeclared_item",
    "create_unmatched_receipt",
    "create_webhook_endpoint",
]
