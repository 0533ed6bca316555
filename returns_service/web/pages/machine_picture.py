"""The return's machine as a picture: its states in fixed places, and an edge for all that may happen to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from markupsafe import Markup

from returns_service.domain import machine_diagram
from returns_service.domain.return_machine import RULE, State
from returns_service.web.pages.rendering import ENVIRONMENT, as_html

WIDTH, HEIGHT = 340, 436  # of the picture, pixels
BOX_WIDTH, BOX_HEIGHT = 104, 40
RULE_NODE: Final = "rule"  # stands for the rule that most triggers lead by
CENTERS: Final[Mapping[str, tuple[int, int]]] = {
    "requested": (102, 28), "declined": (284, 28), "approved": (102, 128), "canceled": (284, 128),
    RULE_NODE: (193, 218), "refunding": (102, 308), "failed": (284, 308), "refunded": (193, 408),
}  # fmt: skip
_APART: Final = 7  # pixels between the two edges of one pair of states


@dataclass(frozen=True, slots=True)
class Node:
    """One state, or the rule; x and y of its middle, pixels."""

    name: str
    x: int
    y: int
    kind: str  # now, been, rule or nothing


@dataclass(frozen=True, slots=True)
class Edge:
    """What leads from one place to another; both ways where the rule leads back. Its ends and its label, pixels."""

    source: str
    dest: str
    triggers: str
    both_ways: bool
    path: str
    label_x: int
    label_y: int


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole machine, and where one return is in it."""

    nodes: list[Node]
    edges: list[Edge]
    width: int = WIDTH
    height: int = HEIGHT


@lru_cache(maxsize=512)  # of each state, by the few ways that lead there
def show_machine(now: State, been: frozenset[str]) -> Markup:
    """Return the machine as the page shows it: the picture, and in words where a return can go from here."""
    template = ENVIRONMENT.get_template("machine.html")
    return as_html(template.render(picture=draw_machine(now, been), now=now, edges=_edges_from(now)))


def draw_machine(now: State, been: Collection[str]) -> Picture:
    """Return the machine with the present state marked, and those that the return has been in."""
    nodes = [Node(name, x, y, _kind(name, now, been)) for name, (x, y) in CENTERS.items()]
    return Picture(nodes, [_edge(*ends, triggers) for ends, triggers in declared_edges().items()])


def _edges_from(state: State) -> list[tuple[str, str]]:
    """Return where a return can go from a state: triggers and their destinations, as the machine declares them."""
    rows = [row for row in machine_diagram.table() if state in row["from"]]
    return [(str(row["trigger"]), ", ".join(dict.fromkeys(row["to"]))) for row in rows]


def _kind(name: str, now: State, been: Collection[str]) -> str:
    if name == now:
        return "now"
    return "been" if name in been else "rule" if name == RULE_NODE else ""


def declared_edges() -> dict[tuple[str, str], list[str]]:
    """Return all pairs of places that an edge joins, with the triggers that take it; none from a state to itself."""
    pairs: dict[tuple[str, str], list[str]] = {}
    ruled = [dest for dest, _ in RULE]
    for row in machine_diagram.table():
        dests = [RULE_NODE] if row["to"] == ruled else row["to"]
        for source in row["from"]:
            for dest in dests:
                if source != dest and row["trigger"] not in pairs.setdefault((source, dest), []):
                    pairs[source, dest].append(row["trigger"])
    return pairs | {(RULE_NODE, dest): [] for dest in ruled if (dest, RULE_NODE) not in pairs}


def _edge(source: str, dest: str, triggers: list[str]) -> Edge:
    both_ways = dest == RULE_NODE and source in {state for state, _ in RULE}
    (x1, y1), (x2, y2) = CENTERS[source], CENTERS[dest]
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    aside = _APART if (dest, source) in declared_edges() else 0  # two edges of one pair run beside each other
    dx, dy = -(y2 - y1) / length * aside, (x2 - x1) / length * aside
    begin, end = _cut(source, dest), _cut(dest, source)
    share = 0.28 if aside else 0.36  # nearer to where it begins: in the middle edges cross
    label = (begin[0] + (end[0] - begin[0]) * share + dx, begin[1] + (end[1] - begin[1]) * share + dy)
    path = f"M{begin[0] + dx:.1f} {begin[1] + dy:.1f}L{end[0] + dx:.1f} {end[1] + dy:.1f}"
    said = ", ".join(triggers).replace("_", " ") if dest != RULE_NODE else ""
    return Edge(source, dest, said, both_ways, path, round(label[0]), round(label[1]) + 4)


def _cut(place: str, toward: str) -> tuple[float, float]:
    """Return where the line from one place toward another leaves its box."""
    (x, y), (to_x, to_y) = CENTERS[place], CENTERS[toward]
    dx, dy = to_x - x, to_y - y
    half_width, half_height = BOX_WIDTH / 2 + 2, BOX_HEIGHT / 2 + 2
    shares = [half / abs(step) for half, step in ((half_width, dx), (half_height, dy)) if step]
    share = min(shares)
    return x + dx * share, y + dy * share
