"""What the service's own processes do, and how they die."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from returns_service.domain.refund_attempt import REFUND_LEASE_SECONDS
from tests.world import acts
from tests.world.callers import FATES
from tests.world.life import pick
from tests.world.listener import LOST, REFUSED
from tests.world.outside import DAY, WHICH, Outside
from tests.world.stage import FAULTS

STRIKES = st.sampled_from([""] * 4 + list(FAULTS))


class Workers(Outside):
    """Rules of workers and janitors."""

    @rule(steps=st.sampled_from([1, 2, 2, 9, 9]), fault=STRIKES)
    def start_worker(self, steps: int, fault: str) -> None:
        """A worker begins its turn and is left somewhere on the way."""
        self.wire.fault = ("POST" if fault else "", fault)
        self.let_go(self.spawn("worker", acts.work(self.stage)), steps)

    @precondition(lambda self: self.due is not None)
    @rule(steps=st.sampled_from([1, 2, 9, 9]), fault=STRIKES, then=STRIKES)
    def wait_and_work(self, steps: int, fault: str, then: str) -> None:
        """Time passes until a refund is due; a worker has bad luck with it, and again."""
        for fault_now in (fault, then):
            self.wait_for_work()
            self.start_worker(steps, fault_now)

    def wait_for_work(self) -> None:
        """Let time pass until a refund is due, if any is."""
        if (due := self.due) is not None:
            self.time_passes(max(0.0, (due - self.clock.now()).total_seconds()))

    @precondition(lambda self: self.due is not None)
    @rule(
        fault=st.sampled_from(["drop_after", "503_html_done", "unreadable_200", "stored_500_done", "stored_500"]),
        again=st.booleans(), clock=st.booleans(),
    )  # fmt: skip
    def long_silence(self, fault: str, again: bool, clock: bool) -> None:
        """An answer is lost; when somebody asks again, Stripe has forgotten the key, and no clock here may know it."""
        self.wait_for_work()
        self.start_worker(9, fault)
        if again:
            self.wait_for_work()
            self.start_worker(9, "drop_before")
        self.time_passes(DAY)
        if clock:
            self.clock_is_set(-DAY)
        self.start_worker(9, "")

    @precondition(lambda self: self.due is not None)
    @rule(looks=st.integers(2, 4))
    def late_repair(self, looks: int) -> None:
        """Stripe stores a 500; a day later the refund is sent under a new key, and then Stripe repairs the first."""
        self.wait_for_work()
        self.start_worker(9, "stored_500")
        self.time_passes(DAY)
        for _ in range(looks):
            self.start_worker(9, "")
            self.wait_for_work()
        if self.ledger.unfinished:
            self.stripe_repairs(-1)
            self.webhooks(4)

    @precondition(lambda self: self.due is not None)
    @rule(asleep=st.sampled_from([1, 2]), fault=STRIKES)
    def outslept(self, asleep: int, fault: str) -> None:
        """A worker outsleeps its lease with its call before it, or under way; another takes over, the first wakes."""
        self.wait_for_work()
        frozen = self.spawn("worker", acts.work(self.stage))
        self.wire.fault = ("POST" if fault else "", fault)
        self.let_go(frozen, asleep)
        self.time_passes(REFUND_LEASE_SECONDS + 1)
        self.start_worker(2, "")
        self.let_go(frozen, 9)

    @precondition(lambda self: self.due is not None)
    @rule(
        which=st.sampled_from([0, 0, 1, 2]), choice=st.sampled_from([1, 1, 0, 2, 3]), steps=st.sampled_from([2, 2, 3])
    )
    def overtaken(self, which: int, choice: int, steps: int) -> None:
        """Stripe answers a worker; before it writes that down, the bank moves the refund and webhooks tell."""
        self.wait_for_work()
        self.start_worker(steps, "")
        if len(self.ledger.refunds):
            self.bank_decides(-1 - which, choice)
        self.webhooks(6)
        for actor in list(self.kernel.waiting):
            self.let_go(actor, 9)

    @precondition(lambda self: self.due is not None)
    @rule(tries=st.sampled_from([1, 2, 11]), hours=st.sampled_from([1, 6, 30]))
    def stripe_is_down(self, tries: int, hours: int) -> None:
        """Stripe can't be reached for hours: workers try, give up for a while, and try again."""
        self.tell(f"Stripe is down for {hours} h")
        self.wire.down_until = self.clock.unix() + hours * 3600
        for _ in range(tries):
            self.wait_for_work()
            self.start_worker(9, "")
        pace = self.stage.eye.execute("SELECT failures, open_until FROM stripe_pace").fetchone()
        self.kernel.meet("Stripe down for hours")
        if pace is not None and pace["open_until"] is not None:
            self.kernel.meet("the breaker opened")

    @precondition(lambda self: any(actor.scheduled for actor in self.kernel.waiting))
    @rule(which=WHICH)
    def renew(self, which: int) -> None:
        """A process extends the lease of a call that is under way."""
        scheduled = pick([actor.scheduled for actor in self.kernel.waiting if actor.scheduled], which)
        self.live("renewal", acts.renew(self.stage, scheduled), "")
        self.kernel.meet("a lease renewed")

    @precondition(lambda self: self.kernel.waiting)
    @rule(which=WHICH, steps=st.sampled_from([1, 9]))
    def go_on(self, which: int, steps: int) -> None:
        """Somebody who stood still goes on."""
        self.let_go(pick(self.kernel.waiting, which), steps)

    @precondition(lambda self: self.kernel.waiting)
    @rule(which=WHICH, seconds=st.sampled_from([REFUND_LEASE_SECONDS + 1, REFUND_LEASE_SECONDS + 1, DAY]))
    def freeze(self, which: int, seconds: int) -> None:
        """An actor outsleeps its lease, another takes over, the first wakes."""
        frozen = pick(self.kernel.waiting, which)
        self.time_passes(seconds)
        self.start_worker(2, "")
        self.let_go(frozen, 9)

    @precondition(lambda self: self.kernel.waiting)
    @rule(which=WHICH, in_transaction=st.booleans())
    def crash(self, which: int, in_transaction: bool) -> None:
        """A process dies."""
        actor = pick(self.kernel.waiting, which)
        (self.kernel.crash_in_transaction if in_transaction else self.kernel.crash)(actor)

    @rule(fault=STRIKES, fate=FATES)
    def sweep(self, fault: str = "", fate: str = "") -> None:
        """The janitor's round."""
        self.wire.fault = ("GET" if fault else "", fault)
        self.live("janitor", acts.sweep(self.stage, self.policy), fate)

    @precondition(lambda self: self.listens)
    @rule(fault=st.sampled_from(["", "", LOST, REFUSED]), fate=FATES)
    def tell_the_listener(self, fault: str, fate: str) -> None:
        """The courier tells the shop's listener what happened."""
        self.stage.listener.fault = fault
        self.live("dispatcher", acts.tell(self.stage), fate)
