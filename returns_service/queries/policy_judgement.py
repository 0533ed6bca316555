"""What a policy says about one return: its decision, and what the return is worth and owed by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from returns_service.domain import money, refund_windows, return_machine
from returns_service.domain.policy import Decision, Policy, decide, explain, to_dict, version_of
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.views import rfc3339

Outcome = Literal["approves_itself", "one_person", "two_people", "not_allowed"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a policy says about a return; amounts are minor units."""

    decision: Decision
    worth: int  # if every unit comes back as new
    owed: int  # for what has come back, or was paid ahead

    @property
    def outcome(self) -> Outcome:
        """The decision in a word; what isn't allowed needs a person's override."""
        if not self.decision.allowed:
            return "not_allowed"
        if self.decision.approvals_required > 1:
            return "two_people"
        return "approves_itself" if self.decision.auto_approve else "one_person"

    def as_json(self) -> dict[str, Any]:
        """Return the judgement as JSON."""
        violations = [{"code": one.code, "message": one.message} for one in self.decision.violations]
        return {"outcome": self.outcome, "worth": self.worth, "owed": self.owed, "violations": violations}


def judge(case: ReturnCase) -> Judgement:
    """Return what the case's policy says about it, as of its request."""
    row = case.row
    worth = money.due(case.authorized_rows())
    decision = decide(
        case.policy,
        currency=row.currency,
        estimate=worth,
        purchased_at=row.purchased_at,
        delivered_at=row.delivered_at,
        requested_at=row.created_at,
        skus=[line.sku for line in case.lines],
        reasons=reasons_of(case),
        warning=refund_windows.refund_warning(case.payment.method_type, case.payment.paid_at, row.created_at),
    )
    owed = money.due(case.entitled_rows()) if row.state in return_machine.LIVE else 0
    return Judgement(decision, worth, owed)


def reasons_of(case: ReturnCase) -> list[str | None]:
    """Return the reason of each line."""
    return [line.reason or case.row.reason for line in case.lines]


def version_in(case: ReturnCase) -> str:
    """Return the version of the policy that decides about a return: its own from approval on, or the one in force."""
    row = case.row
    return row.policy_version or version_of(row.policy or to_dict(case.policy_in_force))


def explanation(case: ReturnCase) -> dict[str, Any]:
    """Return which policy decides about a return, what each of its rules says, and what the money comes to."""
    row, judgement = case.row, judge(case)
    rules = explain(
        case.policy,
        judgement.decision,
        currency=row.currency,
        estimate=judgement.worth,
        purchased_at=row.purchased_at,
        delivered_at=row.delivered_at,
        requested_at=row.created_at,
        reasons=reasons_of(case),
    )
    return {
        "object": "policy_explanation",
        "return": row.id,
        "order_id": row.order_id,
        "state": row.state,
        "requested": rfc3339(row.created_at),
        "policy_version": version_in(case),
        "from": "approval" if row.policy else "in_force",
        "approvals": row.approvals,
        "currency": row.currency,
        **judgement.as_json(),
        "rules": [{"setting": r.setting, "effect": r.effect, "message": r.message} for r in rules],
        "breakdown": [part.to_dict() for part in case.authorized_rows()],
        "differs_in": differing_settings(case.policy, case.policy_in_force),
    }


def differing_settings(one: Policy, other: Policy) -> list[str]:
    """Return the names of the settings that two policies disagree about."""
    theirs = to_dict(other)
    return [name for name, value in to_dict(one).items() if value != theirs[name]]
