"""Compares JSON objects with the types that Stripe's own SDK declares for them.

The SDK's classes are generated from Stripe's OpenAPI file. They say which fields an object has, of which type, and
which values an enumeration takes; whether a field without a value is null or absent they do not say.
"""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any, ForwardRef, Literal, Union, get_args, get_origin

import stripe
from stripe import StripeObject

_KINDS = {
    name.OBJECT_NAME: name
    for name in (
        stripe.Account, stripe.BalanceTransaction, stripe.Charge, stripe.Customer, stripe.Dispute, stripe.Event,
        stripe.PaymentIntent, stripe.PaymentMethod, stripe.Refund, stripe.WebhookEndpoint,
        stripe.radar.EarlyFraudWarning,
    )
}  # fmt: skip


def find_errors(row: dict[str, Any]) -> list[str]:
    """Return one line for each field of `row` that its SDK class does not know, misses, or types differently."""
    return list(_check(row, _KINDS[row["object"]], row["object"]))


def _check(value: Any, kind: Any, path: str) -> typing.Iterator[str]:
    kind = _resolve(kind)
    origin = get_origin(kind)
    if kind is Any or isinstance(kind, typing.TypeVar):
        return
    if origin in (Union, types.UnionType):
        results = [list(_check(value, option, path)) for option in get_args(kind)]
        if all(results):
            yield from min(results, key=lambda lines: (lines[0].startswith(f"{path}: "), len(lines)))
    elif origin is Literal:
        if value not in get_args(kind):
            yield f"{path}: {value!r} is none of {', '.join(map(str, get_args(kind)[:5]))}"
    elif origin is list:
        yield from _check_list(value, get_args(kind)[0], path)
    elif origin is stripe.ListObject:
        yield from _check_list(value["data"], get_args(kind)[0], path) if isinstance(value, dict) else [f"{path}: list"]
    elif isinstance(kind, type) and issubclass(kind, StripeObject):
        yield from _check_object(value, kind, path)
    elif origin is dict or (isinstance(origin, type) and issubclass(origin, StripeObject)):
        if not isinstance(value, dict):
            yield f"{path}: {value!r} is no object"
    elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{path}: {value!r} is no {kind.__name__}"


def _check_list(value: Any, kind: Any, path: str) -> typing.Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: {value!r} is no list"
        return
    for place, part in enumerate(value):
        yield from _check(part, kind, f"{path}[{place}]")


def _check_object(value: Any, kind: type, path: str) -> typing.Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no object"
        return
    hints = _find_hints(kind)
    for name in value.keys() - hints.keys():
        yield f"{path}.{name}: unknown to {kind.__name__}"
    for name, hint in hints.items():
        if name in value:
            yield from _check(value[name], hint, f"{path}.{name}")
        elif not _is_optional(hint):
            yield f"{path}.{name}: missing"


def _find_hints(kind: type) -> dict[str, Any]:
    """Return the fields that Stripe's own classes declare, not those of the SDK's machinery."""
    hints: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base is not StripeObject and issubclass(base, StripeObject):
            hints |= inspect.get_annotations(base)
    return {
        name: hint
        for name, hint in hints.items()
        if not name.startswith("_") and get_origin(_resolve(hint)) is not typing.ClassVar
    }


def _is_optional(hint: Any) -> bool:
    kind = _resolve(hint)
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)


class _Names(dict[str, Any]):
    """The names in the SDK's annotations: its own classes, some under a longer name that ends in Resource."""

    def __missing__(self, name: str) -> Any:
        return getattr(typing, name, None) or getattr(stripe, name, None) or getattr(stripe, name[:-8], Any)


def _resolve(kind: Any) -> Any:
    """Return the type that an annotation in quotes stands for."""
    text = kind.__forward_arg__ if isinstance(kind, ForwardRef) else kind
    return eval(text, {}, _Names()) if isinstance(text, str) else kind  # noqa: S307 - an annotation of the SDK
