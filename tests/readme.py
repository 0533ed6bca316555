"""The README's parts that are written from the code. `python -m tests.readme` brings them up to date."""

from __future__ import annotations

import re
from pathlib import Path

from returns_service.deploy.alerts import ALERTS
from returns_service.domain import machine_diagram, refund_attempt
from returns_service.domain.problems import PROBLEMS
from returns_service.return_case.views.event_data import EVENT_KINDS
from returns_service.settings import describe_settings

README = Path(__file__).parent.parent / "README.md"


def parts() -> dict[str, str]:
    """Return what belongs between the markers, by their names."""
    rows = [f"| `{s.name}` | {f'`{s.default}`' if s.default else ''} | {s.description} |" for s in describe_settings()]
    problems = [f"| `{code}` | {kind.status} | {kind.title}. {kind.advice} |" for code, kind in PROBLEMS.items()]
    details = "<details><summary>All codes</summary>\n\n| code | status | what it means, what to do |\n|---|---|---|\n"
    attempts = [f"| {' | '.join(row)} |" for row in refund_attempt.table()]
    events = [f"| `{kind}` | {one.meaning} | {_first_line(one.data)} |" for kind, one in EVENT_KINDS.items()]
    head = ["| Stripe's answer | the refund is then | next attempt | idempotency key |", "|---|---|---|---|"]
    alerts = [f"| `{alert.figure}` | {alert.when} | {alert.meaning} |" for alert in ALERTS]
    return {
        "alerts": "\n".join(["| figure | when | what it means |", "|---|---|---|", *alerts]),
        "attempts": "\n".join([*head, *attempts]),
        "events": "\n".join(["| type | what happened | `data` |", "|---|---|---|", *events]),
        "diagram": f"```mermaid\n{machine_diagram.diagram()}```",
        "settings": "\n".join(["| setting | default | what it does |", "|---|---|---|", *rows]),
        "problems": details + "\n".join(problems) + "\n\n</details>",
    }


def _first_line(described: type) -> str:
    return (described.__doc__ or "").partition("\n")[0]


def current(text: str) -> str:
    """Return `text` with its generated parts as the code says now."""
    for name, part in parts().items():
        before, found = re.split(rf"(?<=<!-- {name} -->)\n", text, maxsplit=1)
        text = f"{before}\n{part}\n{found[found.index('<!-- end -->') :]}"
    return text


if __name__ == "__main__":
    README.write_text(current(README.read_text(encoding="utf-8")), encoding="utf-8")
