"""What an answer other than 2xx means for the money: a final no, nothing happened, or nobody knows.

Sources: https://docs.stripe.com/api/errors, https://docs.stripe.com/error-low-level (what is stored under an
idempotency key, `Stripe-Should-Retry`, `Idempotent-Replayed`), https://docs.stripe.com/rate-limits.

Why three: a `Refused` frees money for another attempt, so it is said only where Stripe names a reason in a 400, 402
or 404. Any answer we can't place is `Unknown`, which costs a look-up, never a second refund.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar

from returns_service.domain.stripe_objects import Missing, RefundSnapshot, Refused, TryLater, Unknown
from returns_service.stripe_gateway.parse import clean

T = TypeVar("T")

FINAL = frozenset({400, 402, 404})
MAY_PASS = frozenset({"balance_insufficient", "insufficient_funds"})
REREAD = frozenset({"charge_already_refunded", "over_refund", "charge_disputed", "refund_disputed_payment"})
# Stripe's most frequent over-refund answer has no code, only param=amount and this sentence.
OVER_REFUND = re.compile(r"greater than (the )?(unrefunded|remaining|amount)", re.IGNORECASE)

LONGEST_MESSAGE = 500  # characters kept of Stripe's words: more doesn't fit a page, and isn't prose
LONGEST_WAIT_SECONDS = 3600.0  # a larger `Retry-After` is taken for a mistake: our own schedule asks again hourly
UNASKED_WAIT_SECONDS = 60.0  # after a 409 or 429 that Stripe asks not to repeat: the next minute, not the next second

ADVICE = {
    "amount_too_small": "Refund a larger amount, or pay the customer another way and settle this one outside Stripe.",
    "balance_insufficient": "Top up the Stripe balance; the refund is then tried again under a new key.",
    "charge_already_refunded": "Compare the payment's refunds in the Stripe Dashboard with this return: nothing is left"
    " to refund.",
    "charge_disputed": "Answer the dispute in the Stripe Dashboard: the bank may return this money, so refund only"
    " after it is won.",
    "charge_not_refundable": "Pay the customer another way and settle this refund outside Stripe.",
    "insufficient_funds": "Top up the Stripe balance; the refund is then tried again under a new key.",
    "livemode_mismatch": "Use a Stripe key of the mode, live or test, in which the payment was made.",
    "over_refund": "Look for refunds made elsewhere, then refund at most what is left on the payment.",
    "refund_disputed_payment": "Answer the dispute in the Stripe Dashboard: the bank may return this money, so refund"
    " only after it is won.",
    "resource_missing": "Check that the payment's id is right and belongs to this Stripe account and mode.",
}
ADVICE_FOR_CARDS = "Pay the customer another way and settle this refund outside Stripe: the card can't be refunded."
ADVICE_OTHERWISE = "Read Stripe's message, put its cause right, then try again or settle this refund outside Stripe."


@dataclass(slots=True)
class WireResponse:
    """The answer to one call, as far as it arrived. `status` 0: nothing came."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case, or any case-blind mapping
    subject: str = ""  # the subject of the call, as in /v1/<subject>/…
    watched: bool = True  # a refusal is somebody's to mend; False: there is another way to ask

    @property
    def request_id(self) -> str | None:
        return self.headers.get("request-id")

    @property
    def replayed(self) -> bool:
        """The answer was stored under the key by an earlier call."""
        return self.headers.get("idempotent-replayed", "").strip().lower() == "true"

    @property
    def should_retry(self) -> bool | None:
        """Stripe's own word on repeating, None where it has none."""
        return {"true": True, "false": False}.get(self.headers.get("stripe-should-retry", "").strip().lower())

    @property
    def retry_after_seconds(self) -> float | None:
        """`Retry-After` in seconds; its date form is read as absent, because Stripe documents neither."""
        try:
            seconds = float(self.headers.get("retry-after", ""))
        except ValueError:
            return None
        return min(seconds, LONGEST_WAIT_SECONDS) if seconds >= 0 else None  # NaN isn't >= 0


def judge(heard: WireResponse, error: Mapping[str, Any] | None) -> Refused | TryLater | Unknown:
    """Return what a non-2xx answer means; `error` is the body's error object, None where it can't be read."""
    if error is None:
        return unreadable(heard)
    code, kind, message = (_text_of(error, name) for name in ("code", "type", "message"))
    message = message or f"Stripe answered {heard.status} without a word"
    if heard.status == 429 or (heard.status == 400 and code == "rate_limit"):
        reason = heard.headers.get("stripe-rate-limited-reason", "").lower()
        crowded = code != "lock_timeout" and reason != "resource-specific"  # else only this payment is busy
        return TryLater(code or "rate_limit", message, _pause(heard), slow_down=crowded, request_id=heard.request_id)
    if heard.status in (401, 403):
        default = "authentication" if heard.status == 401 else "permission"
        return TryLater(
            code or default,
            message,
            _pause(heard),
            everyone=True,
            refuses_us=True,
            key_refused=heard.status == 401,
            request_id=heard.request_id,
        )
    if heard.status == 409:
        # Conflicts aren't stored. The other request under this key, if that is the reason, will have an answer soon.
        return TryLater(code or "conflict", message, _pause(heard), request_id=heard.request_id)
    if heard.status == 400 and kind == "idempotency_error":
        # Our key was first used with other parameters and that request stands. To send the key again can only say the
        # same, or pay twice once Stripe has pruned it: `replayed` leaves nothing but the look-up.
        return Unknown(kind, message, replayed=True, request_id=heard.request_id)
    if heard.status not in FINAL:
        return _unknown(heard, code or f"http_{heard.status}", message)
    if heard.should_retry is True and not heard.replayed:
        return TryLater(code or kind or "conflict", message, _pause(heard), request_id=heard.request_id)
    return _refusal(heard, code, kind, message, _text_of(error, "param"))


def same(
    answer: RefundSnapshot | Refused | TryLater | Unknown, stripe_refund: str
) -> RefundSnapshot | Refused | TryLater | Unknown:
    """Return `answer` unless it tells of another refund than `stripe_refund`."""
    if isinstance(answer, RefundSnapshot) and answer.id != stripe_refund:
        return Unknown("other_refund", f"Stripe answered with another refund, {answer.id}")
    return answer


def as_read(answer: T | Refused | TryLater | Unknown) -> T | Missing | TryLater | Unknown:
    """Turn what a write would call refused into a read's words."""
    if not isinstance(answer, Refused):
        return answer
    if answer.code == "resource_missing":
        return Missing(answer.message)
    return Unknown(answer.code, answer.message, request_id=answer.request_id)


def as_refused(answer: Missing) -> Refused:
    """Turn what a read says is missing into the final no that a write would be answered."""
    code = "resource_missing"
    return Refused(code, answer.message, ADVICE[code], http_status=404)


def is_refusal_of_us(answer: object) -> TypeGuard[TryLater]:
    """Say whether Stripe refuses the key, or this call to this key: 401 or 403."""
    return isinstance(answer, TryLater) and answer.refuses_us


def is_worth_repeating(heard: WireResponse, answer: Refused | TryLater | Unknown) -> bool:
    """Say whether a read may be answered within a second: nothing came back, or a 5xx that names no longer pause.

    Not after a timeout: it has used up the call's time.
    """
    if answer.code in ("no_answer", "no_connection"):
        return True
    return isinstance(answer, Unknown) and heard.status >= 500 and answer.after_seconds is None


def unreadable(heard: WireResponse) -> Unknown:
    """Return Unknown for an answer that isn't Stripe's JSON: a proxy's page, a cut body, something else's answer."""
    if 200 <= heard.status < 300:
        return _unknown(heard, "unreadable_answer", "Stripe's answer couldn't be read; it was likely done")
    if not heard.status:
        return Unknown("no_answer", "Nothing was heard from Stripe")
    return _unknown(heard, f"http_{heard.status}", f"An answer {heard.status} without Stripe's error object")


def _refusal(heard: WireResponse, code: str, kind: str, message: str, param: str) -> Refused:
    if code == "amount_too_large" or (not code and param == "amount" and OVER_REFUND.search(message)):
        code = "over_refund"
    if not code and heard.status == 404:  # as some servers that stand in for Stripe say it
        code = "resource_missing"
    code = code or kind or f"http_{heard.status}"
    otherwise = ADVICE_FOR_CARDS if heard.status == 402 else ADVICE_OTHERWISE
    return Refused(
        code=code,
        message=message,
        advice=ADVICE.get(code, otherwise),
        http_status=heard.status,
        request_id=heard.request_id,
        may_pass=code in MAY_PASS,
        reread=code in REREAD,
    )


def _unknown(heard: WireResponse, code: str, message: str) -> Unknown:
    return Unknown(code, message, heard.replayed, heard.request_id, heard.retry_after_seconds)


def _pause(heard: WireResponse) -> float | None:
    """Return Stripe's wish in seconds, None for our own schedule.

    `Stripe-Should-Retry: false` on a 401, 409 or 429 can't make them a final no: none of them is stored, so nothing was
    decided. It only makes us patient.
    """
    wish = heard.retry_after_seconds
    return max(wish or 0.0, UNASKED_WAIT_SECONDS) if heard.should_retry is False else wish


def _text_of(error: Mapping[str, Any], name: str) -> str:
    value = error.get(name)
    return clean(value)[:LONGEST_MESSAGE] if isinstance(value, str) else ""
