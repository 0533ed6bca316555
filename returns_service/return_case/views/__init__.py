"""Rows as the API and the outgoing events show them, field by field. A row itself never leaves the service.

Each object is declared once, as a Struct: its fields are what is answered, and the contract's schema is made of them.
"""

from returns_service.return_case.views.event_view import EventView, show_event
from returns_service.return_case.views.fields import rfc3339
from returns_service.return_case.views.note_view import NoteView, show_note
from returns_service.return_case.views.objects import PaymentView, RefundView, ReturnView
from returns_service.return_case.views.payment_view import show_payment
from returns_service.return_case.views.receipt_view import ReceiptView, show_receipt, show_undeclared
from returns_service.return_case.views.refund_preview_view import RefundPreviewView, show_refund_preview
from returns_service.return_case.views.refund_view import show_breakdown, show_refund
from returns_service.return_case.views.return_view import show_failure, show_return
from returns_service.return_case.views.unmatched_view import UnmatchedReceiptView, show_unmatched

__all__ = [
    "EventView",
    "NoteView",
    "PaymentView",
    "ReceiptView",
    "RefundPreviewView",
    "RefundView",
    "ReturnView",
    "UnmatchedReceiptView",
    "rfc3339",
    "show_breakdown",
    "show_event",
    "show_failure",
    "show_note",
    "show_payment",
    "show_receipt",
    "show_refund",
    "show_refund_preview",
    "show_return",
    "show_undeclared",
    "show_unmatched",
]
