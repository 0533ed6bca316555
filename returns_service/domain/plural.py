"""A number with its noun, as a sentence has it."""

from __future__ import annotations


def pluralize(number: int, noun: str) -> str:
    """Return `1 unit`, `2 units`: the noun takes an s unless there is exactly one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
