"""The shop's return policy: what it says, how it is read, and what it says about one return.

A file that is wrong anywhere is refused whole, with every mistake named by line: a policy half in force pays
the wrong people. The policy in force at approval is stored on the return as `to_dict` gives it.
"""

from returns_service.domain.policy.deciding import (
    Decision,
    Violation,
    decide,
    local_day,
    needs_second_person,
)
from returns_service.domain.policy.example import example
from returns_service.domain.policy.explaining import AppliedRule, explain
from returns_service.domain.policy.reading import PolicyError, from_dict, from_snapshot, parse
from returns_service.domain.policy.shapes import (
    ACCEPTABLE,
    DEFAULT,
    Policy,
    Reason,
    Restocking,
    to_dict,
    version_of,
)

__all__ = [
    "ACCEPTABLE",
    "DEFAULT",
    "AppliedRule",
    "Decision",
    "Policy",
    "PolicyError",
    "Reason",
    "Restocking",
    "Violation",
    "decide",
    "example",
    "explain",
    "from_dict",
    "from_snapshot",
    "local_day",
    "needs_second_person",
    "parse",
    "to_dict",
    "version_of",
]
