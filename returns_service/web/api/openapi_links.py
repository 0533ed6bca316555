"""Links of the contract: what an answer names, and the operations that take it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from returns_service.web.operations.operation import Operation

# By the answer's component: the parameters of paths that its fields are, as JSON pointers.
NAMED: Mapping[str, Mapping[str, str]] = {
    "return": {"return_id": "/id", "payment_id": "/payment"},
    "receipt": {"receipt_id": "/id", "return_id": "/return", "undeclared_id": "/undeclared/0/id"},
    "unmatched_receipt": {"unmatched_id": "/id"},
    "refund": {"refund_id": "/id", "payment_id": "/payment"},
    "reconciliation": {"reconciliation_id": "/id"},
    "webhook_endpoint": {"endpoint_id": "/id"},
    "delivery": {"delivery_id": "/id", "endpoint_id": "/endpoint"},
}


def links_of(operation: Operation, answer: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the links of an operation's answer, a component by its name: to each operation whose path it fills.

    Only from what makes, reads or lists a thing: of what changes it the links would be the same again.
    """
    listed = answer.endswith("_list")
    named = NAMED.get(answer.removesuffix("_list"), {})
    if not named or (operation.writes and "Location" not in operation.headers):
        return {}
    start = "$response.body#/data/0" if listed else "$response.body#"
    found = {}
    for target in operations:
        wanted = re.findall(r"\{(\w+)\}", target.path)
        if wanted and set(wanted) <= named.keys() and target is not operation:
            parameters = {name: f"{start}{named[name]}" for name in wanted}
            found[target.name] = {"operationId": target.name, "parameters": parameters}
    return found
