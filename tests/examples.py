"""The contract's examples, made from a story that is really played. `python -m tests.examples` writes them anew."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from returns_service.domain.slip_code import slip_code
from returns_service.return_case.views.event_data import EVENT_KINDS
from returns_service.store import schema
from returns_service.web.api import openapi_examples
from tests.harness.served_shop import open_shop
from tests.harness.story import Story, play

FILE = Path(openapi_examples.__file__).with_name(openapi_examples.NAME)
OUR_ID = re.compile(r"\b([a-z]{2,3})_[0-7][0-9a-hjkmnp-tv-z]{25}\b")
STRIPES_ID = re.compile(r"\b(pi|ch|py|re|dp)_[A-Za-z0-9]{16,}\b")
# What is secret, or of the machine that the story was played on.
OTHER_NAMES = (
    (re.compile(r"http://127\.0\.0\.1:\d+/"), "https://returns.shop.example.com/"),
    (re.compile(r"(?<=\.\d{10}\.)[A-Za-z0-9_-]{43}"), "SIGNATURE"),
    (re.compile(r"(?<=whsec_)[A-Za-z0-9+/=]+"), "EXAMPLE"),
)


def made_of(story: Story) -> dict[str, Any]:
    """Return the examples that a story gives, under names that are the same whenever it is played."""
    events = {call.event["type"]: call.event for call in reversed(story.receivers.calls)}
    kept = {"operations": story.exchanges, "events": {kind: events[kind] for kind in EVENT_KINDS}}
    text, numbers = json.dumps(kept), defaultdict[str, dict[str, int]](dict)

    def number(prefix: str, name: str) -> int:
        return numbers[prefix].setdefault(name, len(numbers[prefix]))

    def our_name(match: re.Match[str]) -> str:
        counted = number(match[1], match[0])
        return f"{match[1]}_01h455vb4pex5vsknk084s" + (f"{counted:04}" if counted else "n02q")

    def stripes_name(match: re.Match[str]) -> str:
        return f"{match[1]}_3PxExample{number(match[1], match[0]) or ''}"

    text = STRIPES_ID.sub(stripes_name, OUR_ID.sub(our_name, text))
    for pattern, name in OTHER_NAMES:
        text = pattern.sub(name, text)
    return dict(json.loads(text, object_hook=_with_code_of_its_id))


def _with_code_of_its_id(part: dict[str, Any]) -> dict[str, Any]:
    return part | {"slip_code": slip_code(part["id"])} if "slip_code" in part else part


async def _play(url: str) -> dict[str, Any]:
    async with open_shop(url) as shop:
        return made_of(await play(shop))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        database_url = f"sqlite:///{folder}/returns.db"
        schema.migrate(database_url)
        FILE.write_text(json.dumps(asyncio.run(_play(database_url)), indent=1, ensure_ascii=False) + "\n", "utf-8")
