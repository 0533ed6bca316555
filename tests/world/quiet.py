"""The end of a world: no faults any more, clocks run on, everybody does what is due, until nothing is.

Healing hides bugs, so it comes last: first whoever stands at a gate goes on and workers do what is due, then the late
webhooks arrive, newest first, then the janitor sweeps. Half the worlds wake a day later, when Stripe has forgotten the
keys.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from returns_service.domain import return_machine
from returns_service.domain.refund_status import WAITING
from returns_service.worker import missed_events
from tests.world import acts
from tests.world.committed import Row
from tests.world.listener import due_at

if TYPE_CHECKING:
    from tests.world.life import Life
    from tests.world.world import OwnWorld

ROUNDS = 400
TICK = 1e-3  # seconds
DAY = 24 * 3600


def grow_quiet(world: OwnWorld) -> None:
    """Let everything come to its end."""
    world.wire.fault, world.wire.down_until = ("", ""), 0.0
    world.stage.poisoned.clear()
    world.tell("all faults end")
    if world.wakes_late:
        world.time_passes(DAY)
    for actor in list(world.kernel.waiting):
        world.kernel.finish(actor)
    _let_stripe_end(world)
    _drain(world, workers_only=True)
    while world.ledger.outbox:
        world.webhook(-1, "")
    world.clock.advance(missed_events.SWEEP_EVERY_SECONDS)
    world.sweep()
    _drain(world, workers_only=False)
    while world.open_externals and world.policy.external_refunds == "hold":
        world.acknowledge_one(world.open_externals[0].id)
        _drain(world, workers_only=False)
    _let_second_persons_agree(world)
    _tell_the_listener(world)


def _let_second_persons_agree(world: OwnWorld) -> None:
    """Let another person approve each refund that waits for one."""
    for _ in range(ROUNDS):
        waiting = [row for row in world.rows("refund") if row.unapproved and row.status == "queued"]
        if not waiting:
            return
        words, path = f"approve {waiting[0].id}", {"refund_id": waiting[0].id}
        answer = world.ask(words, "approve_refund", path, {}, actor="usr_zoe")
        world.stage.law(answer is not None and answer.done, f"{words}: {answer}")
        _drain(world, workers_only=False)
    raise AssertionError("refunds wait for a second person for ever")


def _tell_the_listener(world: OwnWorld) -> None:
    """Let every event go out."""
    world.stage.listener.fault = ""
    for _ in range(ROUNDS):
        due = due_at(world.stage) if world.listens else None
        if due is None:
            return
        world.clock.advance(max(0.0, (due - world.clock.now()).total_seconds()))
        world.kernel.finish(world.spawn("dispatcher", acts.tell(world.stage)))
    raise AssertionError("the listener is never told all")


def _let_stripe_end(world: OwnWorld) -> None:
    """Disputes end, pending refunds settle; who must act may never do so."""
    for number, dispute in enumerate(list(world.ledger.disputes)):
        moves = world.moves(dispute)
        if "win" in moves:
            world.move("lose" if world.settles and not number and "lose" in moves else "win", dispute["id"])
    world.move("fill_balance")
    for refund in list(world.ledger.refunds):
        if refund["status"] == "pending" or (refund["status"] == "requires_action" and world.settles):
            world.move("settle", refund["id"])
    while (at := world.ledger.next_move_at()) is not None:
        world.clock.advance(max(0.0, at - world.clock.unix()) + TICK)  # a float is not the moment itself
        world.ledger.make_due_moves()


def _drain(world: OwnWorld, *, workers_only: bool) -> None:
    """Do what is due next, and advance the clock to it, until nothing is."""
    for _ in range(ROUNDS):
        world.laws.check()
        refund_due, chore_due = next_refund(world), None if workers_only else _next_chore(world)
        moments = [moment for moment in (refund_due, chore_due) if moment is not None]
        while not workers_only and world.ledger.outbox:
            world.webhook(-1, "")
            moments = moments or [world.clock.now()]
        if not moments:
            return
        world.clock.advance(max(0.0, (min(moments) - world.clock.now()).total_seconds()))
        if refund_due is not None and refund_due <= world.clock.now():
            actor = world.spawn("worker", acts.work(world.stage))
            world.kernel.finish(actor)
            if actor.answer == "idle":
                world.clock.advance(1)  # the pace, or the breaker, lets nobody through just now
        if chore_due is not None and chore_due <= world.clock.now():
            world.sweep()
    raise AssertionError("the world never grows quiet")


def next_refund(world: Life) -> datetime | None:
    payments = {row.id: row for row in world.rows("payment")}
    due = [(row, payments[row.payment_id]) for row in world.rows("refund")]
    return min((_due_at(row, payment) for row, payment in due if _is_due(world, row, payment)), default=None)


def _is_due(world: Life, row: Row, payment: Row) -> bool:
    """Whether Stripe is to be asked; what waits for a customer, as Stripe says too, is as quiet as it gets."""
    held = payment.disputed or payment.held_until_read or (payment.external_open and not row.overrides_hold)
    if row.next_attempt_at is None or (held and row.status == "queued"):
        return False
    seen = world.ledger.refunds.get(row.stripe_refund or "")
    return not (row.status in WAITING and seen is not None and seen["status"] == row.status)


def _due_at(refund: Row, payment: Row) -> datetime:
    return max(datetime.fromisoformat(t) for t in (refund.next_attempt_at, refund.lease_until, payment.busy_until) if t)


def _next_chore(world: OwnWorld) -> datetime | None:
    moments = [row.read_at for row in world.rows("payment")]
    moments += [row.next_attempt_at for row in world.rows("stripe_event")]
    for case in world.laws.cases():
        barred = return_machine.unmet("refund", case.row.state, case.facts()) or case.due_was_taken_off()
        if case.row.follow_up_at and not barred:
            moments.append(case.row.follow_up_at)
    return min((datetime.fromisoformat(moment) for moment in moments if moment), default=None)
