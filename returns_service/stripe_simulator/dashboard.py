"""Moves that people, banks and Stripe itself make without the API: refunds by hand, bank returns, disputes, repairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import api, captures, disputes, payments, refunds
from .collection import Collection, Json
from .currencies import format_amount
from .ledger import Cause, Ledger
from .refunds import WrongMove
from .versions import check_version


class Dashboard:
    """The moves, by method or by name.

    Each raises LookupError for an unknown object, and WrongMove or Refusal for a move that Stripe never makes.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def refund(
        self, name: str, amount: int | None = None, reason: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> Json:
        """Refund `amount` minor units (None: the whole rest) of a charge or PaymentIntent by hand."""
        ledger = self.ledger
        ids = (None, name) if name.startswith("pi_") else (name, None)
        charge = refunds.find_charge_to_refund(ledger, *ids)
        if amount is not None and amount < 1:
            raise WrongMove(f"cannot refund {format_amount(amount, charge['currency'])}")
        return refunds.create(ledger, charge, amount, reason, dict(metadata or {}))

    def settle(self, name: str) -> Json:
        """Let a refund that is `pending` or `requires_action` succeed."""
        return self._move_refund(name, refunds.settle)

    def fail(self, name: str, reason: str = "unknown") -> Json:
        """Let a refund fail, also after it `succeeded`; `reason` is its `failure_reason`."""
        return self._move_refund(name, lambda ledger, row: refunds.fail(ledger, row, reason))

    def cancel(self, name: str) -> Json:
        """Cancel a refund that is `pending` or `requires_action`."""
        return self._move_refund(name, refunds.cancel)

    def require_action(self, name: str) -> Json:
        """Let a refund that is `pending` or `succeeded` wait (again) for the customer."""
        return self._move_refund(name, refunds.require_action)

    def pend(self, name: str) -> Json:
        """Let a refund that `requires_action` be `pending`: the customer answered."""
        return self._move_refund(name, refunds.pend)

    def set_arn(self, name: str, reference: str | None = None) -> Json:
        """Give a refund the bank's reference number; its status stays. None: a random number."""
        return self._move_refund(name, lambda ledger, row: refunds.set_arn(ledger, row, reference))

    def repair(self, key: str) -> Json:
        """Execute the request with this idempotency key (or request id) that got a stored 500."""
        return api.repair(self.ledger, key)

    def open_dispute(self, name: str, reason: str = "fraudulent") -> Json:
        """Open a formal dispute over a charge or PaymentIntent: Stripe withdraws the money and bars refunds."""
        return disputes.open_dispute(self.ledger, self._find_charge(name), reason)

    def open_inquiry(self, name: str, reason: str = "fraudulent") -> Json:
        """Open an inquiry over a charge or PaymentIntent; it stays refundable."""
        return disputes.open_dispute(self.ledger, self._find_charge(name), reason, inquiry=True)

    def respond(self, name: str) -> Json:
        """Answer a dispute or inquiry for the shop: it is under review."""
        return self._move_dispute(name, disputes.respond)

    def escalate(self, name: str) -> Json:
        """Turn an inquiry into a formal dispute."""
        return self._move_dispute(name, disputes.escalate)

    def win(self, name: str) -> Json:
        """Let the shop win a dispute, or close an inquiry."""
        return self._move_dispute(name, disputes.win)

    def lose(self, name: str) -> Json:
        """Let the shop lose a dispute."""
        return self._move_dispute(name, disputes.lose)

    def overturn(self, name: str) -> Json:
        """Turn a dispute that was lost into one that is won, or the other way round; its id stays."""
        return self._move_dispute(name, disputes.overturn)

    def authenticate(self, name: str) -> Json:
        """Let the customer authenticate a PaymentIntent that `requires_action`: the charge goes on."""
        return self._move_payment(name, payments.authenticate)

    def fail_authentication(self, name: str) -> Json:
        """Let the customer fail to authenticate a PaymentIntent that `requires_action`."""
        return self._move_payment(name, payments.fail_authentication)

    def settle_payment(self, name: str) -> Json:
        """Let a bank debit that is `processing` succeed."""
        return self._move_payment(name, payments.settle)

    def fail_payment(self, name: str) -> Json:
        """Let a bank debit that is `processing` fail."""
        return self._move_payment(name, payments.fail)

    def capture(self, name: str, amount: int | None = None, final: bool = True, api_version: str | None = None) -> Json:
        """Capture `amount` minor units (None: all) of an authorized PaymentIntent.

        `api_version`: as if by a call in that version. Before 2025-03-31 a partial capture creates a Refund of the
        rest. `final=False` needs a PaymentIntent that asked for multicapture.
        """
        return self._move_payment(
            name, lambda ledger, row: captures.capture(ledger, row, amount, final=final), api_version
        )

    def cancel_payment(self, name: str, reason: str | None = None, api_version: str | None = None) -> Json:
        """Cancel a PaymentIntent, as if by a call in `api_version`. Before 2025-03-31 that creates a Refund."""
        return self._move_payment(name, lambda ledger, row: captures.cancel(ledger, row, reason), api_version)

    def expire_authorization(self, name: str, api_version: str | None = None) -> Json:
        """Let the authorization of a PaymentIntent expire uncaptured."""
        return self._move_payment(name, captures.expire, api_version)

    def emit_again(self, name: str) -> Json:
        """Emit the event `name` a second time, under an id of its own."""
        self.ledger.emit_again(_find(self.ledger.events, name))
        return next(self.ledger.events.newest_first())

    def fill_balance(self, name: str = "") -> Json:
        """Fill the balance: refunds that waited for it settle soon."""
        refunds.fill_balance(self.ledger)
        return {"balance": "enough"}

    def move(self, move: str, name: str, **more: Any) -> Json:
        """Make the move called `move` on the object `name`. Raises LookupError for an unknown move."""
        if move not in MOVES:
            raise LookupError(f"no move {move!r}; there are: {', '.join(MOVES)}")
        row: Json = getattr(self, move)(name, **more)
        return row

    def open_moves(self, row: Json) -> list[str]:
        """Return the names of the usual moves of a refund, dispute, charge or PaymentIntent in its present state."""
        kind, status = row["object"], row["status"]
        if kind == "payment_intent":
            return list(_PAYMENT_MOVES.get(status, ()))
        if row["id"] in self.ledger.releases:
            return []
        if kind == "charge":
            if not row["captured"]:
                return []
            calm = ["open_dispute", "open_inquiry"] if disputes.is_calm(self.ledger, row) else []
            return (["refund"] if refunds.compute_refundable(self.ledger, row) else []) + calm
        return list(_REFUND_MOVES.get(status, ()) if kind == "refund" else _DISPUTE_MOVES.get(status, ()))

    def _move_refund(self, name: str, make: Callable[[Ledger, Json], None]) -> Json:
        row = _find(self.ledger.refunds, name)
        if name in self.ledger.releases:
            raise WrongMove(f"refund {name} stands for an amount never captured: it does not move")
        make(self.ledger, row)
        return row

    def _move_dispute(self, name: str, make: Callable[[Ledger, Json], None]) -> Json:
        row = _find(self.ledger.disputes, name)
        make(self.ledger, row)
        return row

    def _move_payment(self, name: str, make: Callable[[Ledger, Json], Any], api_version: str | None = None) -> Json:
        row = _find(self.ledger.payment_intents, name)
        version = None if api_version is None else check_version(api_version)
        with self.ledger.caused_by(Cause(api_version=version)):
            make(self.ledger, row)
        return row

    def _find_charge(self, name: str) -> Json:
        ledger = self.ledger
        if name.startswith("pi_"):
            name = _find(ledger.payment_intents, name)["latest_charge"] or ""
        return _find(ledger.charges, name)


MOVES = (
    "refund settle fail cancel require_action pend set_arn repair open_dispute open_inquiry respond escalate win lose "
    "overturn authenticate fail_authentication settle_payment fail_payment capture cancel_payment "
    "expire_authorization emit_again fill_balance"
).split()

_PAYMENT_MOVES = {
    "requires_action": ("authenticate", "fail_authentication", "cancel_payment"),
    "requires_capture": ("capture", "cancel_payment", "expire_authorization"),
    "processing": ("settle_payment", "fail_payment"),
}
_REFUND_MOVES = {
    "pending": ("settle", "fail", "cancel", "require_action"),
    "requires_action": ("pend", "settle", "fail", "cancel"),
    "succeeded": ("set_arn", "fail", "require_action"),
}
_DISPUTE_MOVES = {
    "warning_needs_response": ("respond", "escalate", "win"),
    "warning_under_review": ("escalate", "win"),
    "needs_response": ("respond", "win", "lose"),
    "under_review": ("win", "lose"),
}


def _find(collection: Collection, name: str) -> Json:
    row = collection.get(name)
    if row is None:
        raise LookupError(f"no {collection.kind} {name!r}")
    return row
