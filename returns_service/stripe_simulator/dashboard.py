"""What people, banks and Stripe itself do without the API: refunds by hand, bank returns, disputes, repairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import api, disputes, refunds
from .cards import words_for
from .ledger import Ledger
from .refunds import WrongMove
from .shelf import Json, Shelf


class Dashboard:
    """The moves, by method or by name. Each raises LookupError for an unknown object, WrongMove or Refusal for
    what Stripe would not do."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def refund(
        self, name: str, amount: int | None = None, reason: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> Json:
        """Refund `amount` minor units (None: all that is left) of a charge or PaymentIntent by hand."""
        ledger = self.ledger
        ids = (None, name) if name.startswith("pi_") else (name, None)
        charge = refunds.charge_to_refund(ledger, *ids)
        if amount is not None and amount < 1:
            raise WrongMove(f"cannot refund {words_for(amount, charge['currency'])}")
        return refunds.create(ledger, charge, amount, reason, dict(metadata or {}))

    def settle(self, name: str) -> Json:
        """A refund that is `pending` or `requires_action` succeeds."""
        return self._refund(name, refunds.settle)

    def fail(self, name: str, reason: str = "unknown") -> Json:
        """A refund fails, also after it `succeeded`; `reason` is its `failure_reason`."""
        return self._refund(name, lambda ledger, row: refunds.fail(ledger, row, reason))

    def cancel(self, name: str) -> Json:
        """A refund that is `pending` or `requires_action` is canceled."""
        return self._refund(name, refunds.cancel)

    def require_action(self, name: str) -> Json:
        """A refund that is `pending` or `succeeded` (again) waits for the customer."""
        return self._refund(name, refunds.require_action)

    def pend(self, name: str) -> Json:
        """A refund that `requires_action` is `pending`: the customer answered."""
        return self._refund(name, refunds.pend)

    def set_arn(self, name: str, reference: str | None = None) -> Json:
        """The bank's reference number of a refund comes in; its status stays."""
        return self._refund(name, lambda ledger, row: refunds.set_arn(ledger, row, reference))

    def repair(self, key: str) -> Json:
        """Do what was asked by the request with this idempotency key (or request id) that got a stored 500."""
        return api.repair(self.ledger, key)

    def open_dispute(self, name: str, reason: str = "fraudulent") -> Json:
        """A cardholder disputes a charge or PaymentIntent: the money is withdrawn, refunds are barred."""
        return disputes.start(self.ledger, self._charge(name), reason)

    def open_inquiry(self, name: str, reason: str = "fraudulent") -> Json:
        """A cardholder asks about a charge or PaymentIntent; it stays refundable."""
        return disputes.start(self.ledger, self._charge(name), reason, inquiry=True)

    def respond(self, name: str) -> Json:
        """The shop answers a dispute or inquiry: it is under review."""
        return self._dispute(name, disputes.respond)

    def escalate(self, name: str) -> Json:
        """An inquiry becomes a formal dispute."""
        return self._dispute(name, disputes.escalate)

    def win(self, name: str) -> Json:
        """A dispute is won, or an inquiry closed."""
        return self._dispute(name, disputes.win)

    def lose(self, name: str) -> Json:
        """A dispute is lost."""
        return self._dispute(name, disputes.lose)

    def tell_again(self, name: str) -> Json:
        """An event is told a second time, under an id of its own."""
        self.ledger.tell_again(_found(self.ledger.events, name))
        return next(self.ledger.events.newest_first())

    def fill_balance(self, name: str = "") -> Json:
        """The balance has money again: refunds that waited for it settle soon."""
        refunds.fill_balance(self.ledger)
        return {"balance": "enough"}

    def move(self, move: str, name: str, **more: Any) -> Json:
        """Make the move called `move` on the object `name`. Raises LookupError for an unknown move."""
        if move not in MOVES:
            raise LookupError(f"no move {move!r}; there are: {', '.join(MOVES)}")
        made: Json = getattr(self, move)(name, **more)
        return made

    def open_moves(self, row: Json) -> list[str]:
        """Return the names of the moves that a refund, dispute or charge can make in its present state."""
        kind, status = row["object"], row["status"]
        if kind == "charge":
            if not row["captured"]:
                return []
            calm = ["open_dispute", "open_inquiry"] if disputes.is_calm(self.ledger, row) else []
            return (["refund"] if refunds.refundable(row) else []) + calm
        return list(_REFUND_MOVES.get(status, ()) if kind == "refund" else _DISPUTE_MOVES.get(status, ()))

    def _refund(self, name: str, make: Callable[[Ledger, Json], None]) -> Json:
        row = _found(self.ledger.refunds, name)
        make(self.ledger, row)
        return row

    def _dispute(self, name: str, make: Callable[[Ledger, Json], None]) -> Json:
        row = _found(self.ledger.disputes, name)
        make(self.ledger, row)
        return row

    def _charge(self, name: str) -> Json:
        ledger = self.ledger
        if name.startswith("pi_"):
            name = _found(ledger.payment_intents, name)["latest_charge"] or ""
        return _found(ledger.charges, name)


MOVES = (
    "refund settle fail cancel require_action pend set_arn repair open_dispute open_inquiry respond escalate win lose "
    "tell_again fill_balance"
).split()

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


def _found(shelf: Shelf, name: str) -> Json:
    row = shelf.get(name)
    if row is None:
        raise LookupError(f"no {shelf.kind} {name!r}")
    return row
