"""A life's stage and tools: what the rules are made of."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine

from returns_service.domain.policy import DEFAULT, Policy
from returns_service.return_case.locked_payment import waits_for_person
from returns_service.stripe_simulator import Dashboard, Refusal, WrongMove
from tests.world import acts
from tests.world.acts import Answer, Desk, Wish
from tests.world.kernel import Actor
from tests.world.laws import Laws
from tests.world.quiet import next_refund
from tests.world.stage import Stage

T = TypeVar("T")


def pick(some: Sequence[T], which: int) -> T:
    """Return one of `some`."""
    return some[which % len(some)]


def keep_first_round(stage: Stage) -> None:
    """Let the janitor do its first round in an empty world, and keep what it leaves for all worlds."""
    stage.begin()
    stage.kernel.finish(stage.kernel.spawn("janitor", acts.sweep(stage, DEFAULT)))
    stage.first_round = [tuple(row) for row in stage.eye.execute("SELECT * FROM sweep")]


class Life(RuleBasedStateMachine):
    """One life of the service, before anything happens in it."""

    stage: ClassVar[Stage]

    def __init__(self) -> None:
        super().__init__()
        if not self.stage.first_round:
            keep_first_round(self.stage)
        self.stage.begin()
        self.kernel, self.clock, self.ledger = self.stage.kernel, self.stage.clock, self.stage.ledger
        self.wire, self.dashboard = self.stage.wire, Dashboard(self.stage.ledger)
        self.laws, self.desk = Laws(self.stage), Desk(self.stage)
        self.payments: list[tuple[str, str]] = []  # (intent, currency)
        self.wishes: list[Wish] = []
        self.wakes_late = False  # a day after the last rule
        self.listens = False  # somebody is told by outgoing webhooks
        self.settles = False  # who must act does so in the end, and the first dispute is lost

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.stage.context.policy

    def live_by(self, policy: Policy) -> None:
        """Put a policy in force."""
        self.stage.context.policy = policy

    def buy(self, amount: int, currency: str, method: str, *, capture_method: str = "automatic") -> None:
        """A customer pays; with `capture_method` "manual" the money is authorized, and the shop captures it later."""
        hundreds = amount * 100
        intent = acts.pay(self.stage, hundreds, currency, method, capture_method)
        self.payments.append((intent, currency))
        self.tell(f"a customer pays {hundreds} {currency} by {method}: {self.payments[-1][0]}")

    # --- how it happens ----------------------------------------------------------------------------------------------

    def moves(self, row: dict[str, Any]) -> list[str]:
        """Return what can happen to an object at Stripe without the API."""
        return self.dashboard.open_moves(row)

    def move(self, name: str, *what: Any) -> None:
        """Let something happen at Stripe without the API."""
        try:
            made: Callable[..., Any] = getattr(self.dashboard, name)
            self.tell(f"at Stripe: {name} {' '.join(map(str, what))} -> {made(*what).get('id', 'done')}")
        except (Refusal, WrongMove) as error:
            self.tell(f"at Stripe: {name} {' '.join(map(str, what))} can't be done: {error}")

    def judge(self) -> None:
        """Check the laws."""
        with self.kernel.judged():
            self.laws.check()

    def tell(self, text: str) -> None:
        """Add a line to the story."""
        self.kernel.tell(text)

    def rows(self, table: str) -> list[Any]:
        """Return the committed rows of a table."""
        return self.laws.rows(table)

    @property
    def returns(self) -> list[str]:
        """Ids of all returns, whether their caller knows of them or not."""
        return [row[0] for row in self.stage.eye.execute("SELECT id FROM return_authorization ORDER BY rowid")]

    @property
    def open_externals(self) -> list[Any]:
        """Refunds made in the Dashboard that nobody has said anything about."""
        return [row for row in self.rows("refund") if row.source == "external" and waits_for_person(row)]

    @property
    def due(self) -> datetime | None:
        """When the next refund may be claimed."""
        return next_refund(self)

    def currency_of(self, return_id: str) -> str:
        """Return a return's currency."""
        return str(self.stage.one("SELECT currency FROM return_authorization WHERE id = ?", return_id)[0])

    def state_of(self, return_id: str) -> str:
        """Return a return's state."""
        return str(self.stage.one("SELECT state FROM return_authorization WHERE id = ?", return_id)[0])

    def lines_of(self, return_id: str) -> list[str]:
        """Return the ids of a return's lines."""
        chosen = "SELECT id FROM return_line WHERE return_id = ? ORDER BY position"
        return [row[0] for row in self.stage.eye.execute(chosen, (return_id,))]

    def ask(
        self,
        words: str,
        operation: str,
        path: Mapping[str, str],
        body: Mapping[str, Any],
        fate: str = "",
        actor: str = "key_shop",
    ) -> Answer | None:
        """Send a new request; return its answer, None if there was none."""
        self.wishes.append(Wish(f"wish-{len(self.wishes) + 1}", words, operation, path, body, actor))
        return self.send(self.wishes[-1], fate)

    def send(self, wish: Wish, fate: str) -> Answer | None:
        """Send a request; remember what was answered."""

        async def asked() -> Answer:
            answer = await self.desk.ask(wish)
            if answer.done:
                first = self.laws.kept.setdefault(wish.key, answer.body)
                self.stage.law(first == answer.body, f"{wish.words}: {first} at first, then {answer.body}")
            return answer

        answer: Any = self.live(wish.words, asked(), fate).answer
        found: Answer | None = answer
        return found

    def spawn(self, name: str, words: Coroutine[object, object, object]) -> Actor:
        """Bring an actor to life."""
        return self.kernel.spawn(name, words)

    def live(self, name: str, words: Coroutine[object, object, object], fate: str) -> Actor:
        """Let an actor run to its end, to its death, or to where it is slow."""
        actor = self.spawn(name, words)
        if fate == "in transaction":
            self.kernel.crash_in_transaction(actor)
        elif fate == "before the answer":
            while actor in self.kernel.waiting and actor.gate != "committed":
                self.kernel.step(actor)
            if actor in self.kernel.waiting:
                self.kernel.crash(actor)
        elif fate == "is slow":
            self.kernel.step(actor)
        else:
            self.kernel.finish(actor)
        return actor

    def let_go(self, actor: Actor, steps: int) -> None:
        """Let an actor pass some gates."""
        for _ in range(steps):
            if actor in self.kernel.waiting:
                self.kernel.step(actor)
