"""Every problem the service can answer, and the one exception that carries it.

Shape of the answer: RFC 9457 (problem+json). `code` is stable and machine-readable; `advice` says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one code have in common."""

    title: str
    status: int
    advice: str


ProblemCode = Literal[
    "malformed_request", "invalid_request", "unknown_filter", "unknown_line", "not_found", "method_not_allowed",
    "unsupported_media_type", "body_too_large", "headers_too_large", "request_timeout",
    "version_mismatch", "idempotency_key_required",
    "idempotency_key_reused", "idempotency_key_in_use", "metadata_reserved", "metadata_invalid", "reason_required",
    "unknown_reason",
    "override_required", "scan_id_reused", "unauthorized", "insufficient_scope", "form_out_of_date", "rate_limited",
    "too_many_streams",
    "invalid_signature", "payment_missing", "payment_not_succeeded", "payment_disputed", "currency_mismatch",
    "amount_exceeds_payment", "tax_exceeds_total", "amount_exceeds_refundable", "amount_not_a_step",
    "charge_already_refunded",
    "charge_mismatch", "connect_not_supported", "units_already_returned", "quantity_exceeds_ordered",
    "quantity_ordered_differs", "stripe_unavailable", "stripe_refuses_us",
    "invalid_transition", "policy_violation", "second_person_required", "nothing_due", "amount_exceeds_due",
    "refund_in_progress", "failed_refund_open", "money_moved", "still_due", "already_closed", "no_failed_refund",
    "which_refund", "nothing_received", "nothing_to_inspect", "already_refunded", "receipt_written", "receipt_reversed",
    "undeclared_resolved", "line_required", "line_complete", "units_received", "units_not_counted",
    "undeclared_open", "already_attached", "nothing_overpaid", "refund_not_failed", "refund_superseded",
    "refund_not_cancelable", "refund_not_second", "refund_not_external", "payment_mismatch", "external_refund_open",
    "refund_missing", "refund_claimed", "refund_amount_differs", "not_closed", "refund_not_unknown", "too_early",
    "refund_found", "refund_not_unapproved", "url_not_allowed", "too_many_endpoints", "database_unavailable",
    "too_many_connections", "internal_error",
]  # fmt: skip
PROBLEMS: dict[ProblemCode, Kind] = {
    # the request
    "malformed_request": Kind(
        "The request can't be read", 400, "Send one JSON object, UTF-8, as the documentation shows."
    ),
    "invalid_request": Kind("The request has wrong fields", 422, "Correct the fields named in `errors`."),
    "unknown_filter": Kind("Unknown filter", 422, "Use only the filters that this list documents."),
    "unknown_line": Kind("No such line on this return", 422, "Use a line id of this return, or send the `sku`."),
    "not_found": Kind("Not found", 404, "Check the path, and the id with its prefix; ids are case-sensitive."),
    "method_not_allowed": Kind("Method not allowed", 405, "See the API's documentation for this path's methods."),
    "unsupported_media_type": Kind("Unsupported content type", 415, "Send `Content-Type: application/json`."),
    "body_too_large": Kind("The body is too large", 413, "Send a smaller body."),
    "headers_too_large": Kind("The headers are too large", 431, "Send fewer or shorter headers, or a shorter address."),
    "request_timeout": Kind("The request came too slowly", 408, "Send it again, headers and body without a pause."),
    "version_mismatch": Kind("Somebody changed it meanwhile", 412, "Read it again, then repeat with the new ETag."),
    "idempotency_key_required": Kind(
        "This request needs an Idempotency-Key", 400, "Send a new UUID as `Idempotency-Key`; repeat it on retries."
    ),
    "idempotency_key_reused": Kind(
        "This Idempotency-Key was used with another body", 422, "Use a new key for a new request."
    ),
    "idempotency_key_in_use": Kind(
        "A request with this Idempotency-Key is still running", 409, "Wait, then repeat the same request."
    ),
    "metadata_reserved": Kind(
        "Reserved metadata key", 422, "Leave out `refund_id` and `lines`: the service sets them."
    ),
    "metadata_invalid": Kind(
        "The metadata is over Stripe's limits",
        422,
        "At most 46 keys, 40 characters a key, 500 a value, no [ ] in keys.",
    ),
    "reason_required": Kind("A reason is required", 422, "Say why in `reason`; it is kept in the history."),
    "unknown_reason": Kind(
        "This reason is not in the catalogue", 422, "Send one of `reasons`; free words go into `note`."
    ),
    "override_required": Kind(
        "This needs a named reason", 422, "Repeat with `override_reason`; it is kept in the history."
    ),
    "scan_id_reused": Kind("This scan was already sent with other counts", 422, "Use a new `scan_id` for a new count."),
    # the caller
    "unauthorized": Kind("Missing or unknown API key", 401, "Send `Authorization: Bearer rsk_…` with a key in force."),
    "insufficient_scope": Kind("This key may not do that", 403, "Use a key with the scope named in `required_scope`."),
    "form_out_of_date": Kind("This form is out of date", 403, "Open the page again; nothing was changed."),
    "rate_limited": Kind("Too many requests", 429, "Wait as `Retry-After` says, then go on more slowly."),
    "too_many_streams": Kind("Too many live streams", 429, "Close one that nobody reads; one stream tells all."),
    "invalid_signature": Kind(
        "The Stripe signature doesn't verify", 400, "Check STRIPE_WEBHOOK_SECRET against the endpoint's signing secret."
    ),
    # payments
    "payment_missing": Kind(
        "Stripe knows no such payment", 404, "Check the id and that it is of this Stripe account and mode."
    ),
    "payment_not_succeeded": Kind(
        "The payment has not succeeded", 422, "Only what was captured can be refunded; see `payment_status`."
    ),
    "payment_disputed": Kind(
        "The payment is disputed", 409, "Wait for the dispute's end; if it is lost, settle outside as `dispute`."
    ),
    "currency_mismatch": Kind("The payment is in another currency", 422, "Send the payment's own currency."),
    "amount_exceeds_payment": Kind(
        "More than the payment's amount", 422, "Check the lines' `total_amount` in minor units."
    ),
    "tax_exceeds_total": Kind("More tax than was paid", 422, "Send the tax as a part of the total, in minor units."),
    "amount_exceeds_refundable": Kind(
        "More than is left to refund", 422, "Ask for at most `refundable`, or settle the rest outside."
    ),
    "amount_not_a_step": Kind(
        "Not an amount of this currency", 422, "Stripe takes this currency only in multiples of `step`."
    ),
    "charge_already_refunded": Kind(
        "All of this payment is refunded already", 409, "Nothing is left to pay on this payment."
    ),
    "charge_mismatch": Kind(
        "The charge is of another payment", 422, "Send the PaymentIntent alone, or the charge alone."
    ),
    "connect_not_supported": Kind(
        "Connect payments are not supported",
        422,
        "Refund payments with a transfer or application fee in the Dashboard.",
    ),
    "units_already_returned": Kind(
        "These units are on another return already",
        422,
        "Authorize at most what was ordered, over all returns; `returns` has those that hold units of this order line. "
        "One that was closed before its units came is reopened for them.",
    ),
    "quantity_exceeds_ordered": Kind(
        "More units than were ordered", 422, "Send at most `quantity_ordered` in `quantity`, or correct the number."
    ),
    "quantity_ordered_differs": Kind(
        "Another number of this order line is on record",
        422,
        "Send the `quantity_ordered` that is on record, or leave it out.",
    ),
    "stripe_unavailable": Kind(
        "Stripe can't be asked right now", 503, "Nothing was stored: repeat the same request later."
    ),
    "stripe_refuses_us": Kind(
        "Stripe refuses this service's key",
        503,
        "Nothing was stored: give the service a key that may make this call, then repeat the same request.",
    ),
    # the return's machine
    "invalid_transition": Kind("Not from this state", 409, "See `allowed` for what can be done now."),
    "policy_violation": Kind("The policy doesn't allow it", 422, "Decline it, or approve with an `override_reason`."),
    "second_person_required": Kind("A second person has to approve", 409, "Let somebody else approve."),
    "nothing_due": Kind(
        "Nothing is due", 422, "Receive units first, or pay goodwill with `amount` and `override_reason`."
    ),
    "amount_exceeds_due": Kind("More than is due", 422, "Settle at most what is due, or the failed refund's amount."),
    "refund_in_progress": Kind(
        "A refund of this return is not answered yet",
        409,
        "Wait until Stripe has answered it; see the refund's status.",
    ),
    "failed_refund_open": Kind("A failed refund waits for a decision", 409, "Retry it or settle it outside first."),
    "money_moved": Kind(
        "Money has moved or is moving",
        409,
        "Close the return instead. Before its approval: acknowledge the refund that isn't for it, or assign it anew.",
    ),
    "still_due": Kind("Something is still due", 409, "Refund it or settle it outside, then close."),
    "already_closed": Kind("It is closed already", 409, "Nothing more needs to be done."),
    "no_failed_refund": Kind(
        "No failed refund waits for a decision", 409, "Read the return: its refunds tell their state."
    ),
    "which_refund": Kind("Several refunds failed", 409, "Name one in `refund`."),
    "nothing_received": Kind("Nothing was received that could be reversed", 409, "Read the return's receipts."),
    "nothing_to_inspect": Kind("No unit waits for inspection", 409, "Read the return's receipts."),
    # receipts
    "already_refunded": Kind(
        "These units are refunded already", 409, "The receipt stands: the money is on its way or there."
    ),
    "receipt_written": Kind("This scan is in a receipt already", 409, "Take the receipt back, then count again."),
    "receipt_reversed": Kind("This receipt is reversed already", 409, "Nothing more needs to be done."),
    "undeclared_resolved": Kind("This item is resolved already", 409, "Nothing more needs to be done."),
    "line_required": Kind("A line is required", 422, "Name the return's line in `line`."),
    "line_complete": Kind(
        "All authorized units of this line are counted", 409, "Return it to the customer, or scrap it."
    ),
    "units_received": Kind(
        "Units of this return are counted", 409, "The lines stay as they are; decide about the return as it is."
    ),
    "units_not_counted": Kind(
        "Fewer units were counted so", 409, "Read the receipt: correct at most what it counts in that condition."
    ),
    "undeclared_open": Kind(
        "Items nobody declared wait for a decision", 409, "Resolve them first, or repeat with `override_reason`."
    ),
    "already_attached": Kind(
        "This parcel is counted on a return already", 409, "Reverse its receipt there first, then attach it again."
    ),
    "nothing_overpaid": Kind("Nothing is overpaid", 409, "Read the return: its `overpaid_amount` says what is."),
    # refunds
    "refund_not_failed": Kind(
        "This refund has not failed", 409, "Only a failed refund can be retried or settled outside."
    ),
    "refund_superseded": Kind("This refund was dealt with already", 409, "See `superseded_by`."),
    "refund_not_cancelable": Kind(
        "This refund can't be canceled any more", 409, "Only an unsent one can, or one that waits for the customer."
    ),
    "refund_not_second": Kind(
        "Nothing about this refund is to be acknowledged",
        409,
        "Only a refund made outside, or one with `duplicate_of`, is acknowledged.",
    ),
    "refund_not_external": Kind(
        "This refund was not made outside", 409, "Only an open or succeeded refund with `source: external` is assigned."
    ),
    "payment_mismatch": Kind("The return is on another payment", 422, "Assign it to a return on the refund's payment."),
    "external_refund_open": Kind(
        "A refund made outside waits for a person",
        409,
        "Assign it to its return or acknowledge it; or repeat with an `override_reason`.",
    ),
    "refund_missing": Kind(
        "Stripe holds no such refund of this payment", 422, "Name a refund of this payment, `re_…`, in `reference`."
    ),
    "refund_claimed": Kind(
        "This refund counts already", 409, "Name another refund; see `refund` and `return` for what it pays."
    ),
    "refund_amount_differs": Kind(
        "The refund at Stripe is of another amount", 422, "Leave out `amount`: it is the refund's."
    ),
    "not_closed": Kind("The return is not closed", 409, "Nothing more needs to be done."),
    "refund_not_unknown": Kind(
        "Stripe's answer to this refund is known", 409, "Send again is only for status `unknown`."
    ),
    "too_early": Kind("Too early to send again", 409, "Wait 15 minutes after the last attempt; see `possible_at`."),
    "refund_found": Kind("Stripe has this refund already", 409, "It was adopted: read it again."),
    "refund_not_unapproved": Kind(
        "This refund doesn't wait for a second person", 409, "Only one with `waiting_code` `second_person` does."
    ),
    # outgoing webhooks
    "url_not_allowed": Kind(
        "This URL may not be called", 422, "Use https and a host whose addresses are all on the public internet."
    ),
    "too_many_endpoints": Kind("There are too many webhook endpoints", 422, "Delete one that nobody needs."),
    # us
    "database_unavailable": Kind("The database can't be reached", 503, "Repeat the same request in a moment."),
    "too_many_connections": Kind(
        "There are too many connections", 503, "Close those that idle, and send the same request again in a moment."
    ),
    "internal_error": Kind(
        "Something went wrong on our side", 500, "Repeat later with the same key; report `request_id`."
    ),
}


class Problem(Exception):
    """A request that can't be done, and why. `facts` travel in the answer (amounts in minor units)."""

    def __init__(self, code: ProblemCode, detail: str | None = None, *, param: str | None = None, **facts: Any) -> None:
        self.code = code
        self.kind = PROBLEMS[code]
        self.said = detail  # None: there is nothing to say but what all problems of this code have in common
        self.detail = detail or f"{self.kind.title}."
        self.param = param
        self.facts = facts
        super().__init__(f"{code}: {self.detail}")
