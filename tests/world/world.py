"""The world: what can happen, in any order, and what must hold after each step."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from returns_service.domain.policy import DEFAULT, Policy
from tests.world import acts, dice
from tests.world.callers import AMOUNTS, CURRENCIES, LINES, METHODS, Callers
from tests.world.others import Others
from tests.world.outside import WHICH
from tests.world.quiet import grow_quiet
from tests.world.workers import Workers

CI = settings(
    stateful_step_count=26,
    deadline=None,
    derandomize=False,
    database=None,
    backend=dice.NAME,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # `explain` traces every line: several times slower
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    report_multiple_bugs=False,
)
LARGE = {"usd": 400, "isk": 400}  # minor units
POLICIES = {
    "on receipt": DEFAULT,
    "on approval": Policy(refund_on="approval"),
    "with shipping": Policy(shipping_refunded="always"),
    "with shipping, once all is back": Policy(shipping_refunded="full_return"),
    "by hand": Policy(refund_on="manual"),
    "later": Policy(refund_delay=600, auto_approve_below=LARGE),
    "two people": Policy(second_person_above=LARGE),
}


class OwnWorld(Callers, Workers):
    """One life of the service: callers, dock, desk, workers, Stripe, banks and death."""

    @initialize(
        amount=AMOUNTS,
        currency=CURRENCIES,
        method=METHODS,
        lines=LINES,
        parcel=WHICH,
        ends=st.tuples(st.booleans(), st.booleans()),
        policy=st.sampled_from(["on receipt"] * 3 + ["on approval"] + list(POLICIES)),
        listens=st.sampled_from([False, False, False, True]),
    )
    def the_shop_opens(
        self,
        amount: int,
        currency: str,
        method: str,
        lines: list[tuple[int, int]],
        parcel: int,
        ends: tuple[bool, bool],
        policy: str = "on receipt",
        listens: bool = False,
    ) -> None:
        """A payment, an approved return, mostly its first parcel."""
        self.wakes_late, self.settles = ends
        self.live_by(POLICIES[policy])
        self.tell(f"the policy refunds {policy}")
        if listens:
            self.listens = True
            self.live("shop", acts.listen(self.stage), "")
        self.buy(amount, currency, method)
        self.open_return(0, lines, "")
        if parcel and self.returns:
            self.parcel(0, 0, parcel, "new", "", again=False)

    @invariant()
    def holds(self) -> None:
        """The laws hold after every rule."""
        self.judge()

    def teardown(self) -> None:
        """Let the world go quiet, judge it once more, tell its story."""
        try:
            with self.kernel.judged():
                if not self.kernel.failed:
                    grow_quiet(self)
                    self.laws.check_truth()
        finally:
            self.kernel.bury_all()
            note("\n".join(self.kernel.story))


class World(Others, OwnWorld):
    """One life of the service among others, who move money and parcels as they like."""


def tell_each(world: type[World], hear: Callable[[World], object]) -> type[World]:
    """Return that world, each life of which is told once it has ended well."""

    def teardown(self: World) -> None:
        world.teardown(self)
        hear(self)

    return type(world.__name__, (world,), {"teardown": teardown})
