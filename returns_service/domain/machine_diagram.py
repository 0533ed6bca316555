"""The return's machine as rows and as a picture, drawn from its declaration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from returns_service.domain.return_machine import RULE, STATES, TRANSITIONS, Guard


def table() -> list[dict[str, Any]]:
    """Return the machine as rows: trigger, from, to, guards."""
    rows: list[dict[str, Any]] = []
    for trigger, sources, dests, guards in _list_edges():
        rows.append({"trigger": trigger, "from": sources, "to": dests, "guards": guards})
    return rows


def diagram() -> str:
    """Return the machine as Mermaid; triggers that lead by the rule share one choice, the rule itself."""
    lines = ["stateDiagram-v2", "    [*] --> requested", "    state rule <<choice>>"]
    for trigger, sources, dests, guards in _list_edges():
        if dests == [dest for dest, _ in RULE]:
            continue
        label = trigger + (f" [{', '.join(guards)}]" if guards else "")
        lines += [f"    {source} --> {dest}: {label}" for dest in dests for source in sources]
    for source in STATES:
        ruled_here = [t for t, sources, dests, _ in _list_edges() if source in sources and len(dests) == len(RULE)]
        if ruled_here:
            lines.append(f"    {source} --> rule: {', '.join(ruled_here)}")
    lines += [f"    rule --> {dest}: {n}. {branch.__name__}" for n, (dest, branch) in enumerate(RULE, 1)]
    leaving = {source for _, sources, dests, _ in _list_edges() for source in sources if dests != [source]}
    ends = [state for state in STATES if state not in leaving]
    return "\n".join(lines + [f"    {state} --> [*]" for state in ends]) + "\n"


def _list_edges() -> Iterable[tuple[str, list[str], list[str], list[str]]]:
    """Yield (trigger, sources, destinations, guards' names), edges of one trigger from the same states together."""
    groups: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
    for transition in TRANSITIONS:
        declared: Any = transition
        groups.setdefault((declared["trigger"], tuple(declared["source"])), []).append(declared)
    for (trigger, sources), mine in groups.items():
        guards = [c.__name__ for c in mine[0].get("conditions", []) if isinstance(c, Guard)]
        yield trigger, list(sources), [t["dest"] for t in mine], guards
