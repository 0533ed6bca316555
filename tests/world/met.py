"""What worlds have met: the faults that struck, the transitions taken, the happenings of the fault table, and pairs.

A world test is worth what it met. A pair is two things met in one world: most bugs need two.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from returns_service.domain import machine_diagram
from tests.world.stage import FAULTS

if TYPE_CHECKING:
    from tests.world.life import Life

# `adopt` comes after a restore alone: the processes' tests play one.
TRIGGERS = tuple(dict.fromkeys(row["trigger"] for row in machine_diagram.table() if row["trigger"] != "adopt"))
# The happenings that the fault table counts on; `tests/faults.md` names them.
HAPPENINGS = (
    "a second click while the first is unanswered",
    "a retry with its Idempotency-Key",
    "a parcel scanned twice",
    "two refunds of one payment at once",
    "a refund of the Dashboard's adopted",
    "refused: the money was gone meanwhile",
    "a stored 500 repaired by Stripe",
    "a key too old: looked up first",
    "a process died in a call",
    "a process died after a commit",
    "a process died before its commit",
    "two refunds at Stripe for one row",
    "a worker wrote back after its lease went to another",
    "a lease renewed",
    "a webhook before the answer to our call",
    "a read overtaken by a newer one",
    "it waits for the customer after it succeeded",
    "the bank's number came in",
    "a webhook delivered twice",
    "webhooks out of order",
    "a webhook lost",
    "a lost webhook's event pulled",
    "one change told by two events",
    "failed days after it succeeded",
    "failed after it succeeded, as we tell it",
    "Stripe down for hours",
    "the breaker opened",
    "the clock set back",
    "the clock set ahead",
    "a fold that raised",
    "a status word nobody knows",
    "a dispute holds a refund",
    "a dispute: open_dispute",
    "a dispute: open_inquiry",
    "a dispute: win",
    "a dispute: lose",
    "an outgoing webhook lost on the way",
    "an outgoing webhook done, and answered 500",
    "a refund of the Dashboard's assigned",
    "a refund of the Dashboard's acknowledged",
    "an assigned refund moved to another return",
    "a refund assigned to another payment's return: refused",
    "a refund made outside holds a return's refund",
    "a refund of ours beside an assigned one",
    "a partial capture that Stripe keeps a refund of",
    "a dispute that was won turned",
    "a dispute that was lost turned",
    "a payment whose method can't be refunded any more",
    "a refund in its window",
    "a receipt before the approval",
    "a missing unit came after all",
    "a correction of paid units: told as overpaid",
    "something settled by a dispute that is open",
    "a refund that people decided waits for them",
    "a second refund pays for a failed first",
    "a second refund: refused",
    "a parcel of nobody attached",
    "a parcel attached a second time",
)


@dataclass
class Met:
    """Counts over many worlds."""

    worlds: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # by Stripe's method too: `POST drop_after`
    transitions: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (from, trigger, to)
    happenings: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)  # (fault, trigger) in one world

    def add(self, world: Life) -> None:
        """Count what a world met."""
        faults = {fault for fault, _ in world.wire.struck}
        self.worlds += 1
        self.faults.update(f"{method} {fault}" for fault, method in world.wire.struck)
        self.transitions.update(world.laws.transitions)
        self.happenings.update(world.kernel.met)
        self.pairs.update(product(faults, {trigger for _, trigger, _ in world.laws.transitions}))

    def join(self, other: Met) -> None:
        """Count what other worlds met, too."""
        self.worlds += other.worlds
        for name in ("faults", "transitions", "happenings", "pairs"):
            getattr(self, name).update(getattr(other, name))

    def missing(self) -> list[str]:
        """Return what should have been met and wasn't: faults of our calls that move money, triggers, happenings."""
        triggers = {trigger for _, trigger, _ in self.transitions}
        missed = [f"fault {name}" for name in FAULTS if not self.faults[f"POST {name}"]]
        missed += [f"trigger {name}" for name in TRIGGERS if name not in triggers]
        return missed + [f"happening {name}" for name in HAPPENINGS if not self.happenings[name]]

    def report(self) -> str:
        """Return the story space as text: what was met how often, and which pairs never were."""
        possible = list(product(FAULTS, TRIGGERS))
        never = [f"{fault} + {trigger}" for fault, trigger in possible if not self.pairs[fault, trigger]]
        parts = [f"{self.worlds} worlds"]
        for title, counted in (
            ("faults", self.faults),
            ("transitions", Counter({f"{a} --{t}--> {b}": n for (a, t, b), n in self.transitions.items()})),
            ("happenings", self.happenings),
        ):
            parts.append(f"{title}: {len(counted)}")
            parts += [f"  {count:7} {name}" for name, count in counted.most_common()]
        parts.append(f"pairs of a fault and a trigger: {len(possible) - len(never)} of {len(possible)}")
        parts += [f"          never: {', '.join(never)}"] if never else []
        return "\n".join(parts)
