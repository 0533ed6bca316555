"""What one operation of the API is: declared beside its handler, once, for the router, the scopes and the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypedDict, Unpack

import msgspec

from returns_service.domain.policy import Policy
from returns_service.domain.problems import ProblemCode
from returns_service.domain.roles import allows
from returns_service.domain.stripe_objects import PaymentSnapshot, RefundSnapshot
from returns_service.domain.vocabulary import Scope
from returns_service.return_case.events import Actor
from returns_service.store.database import Tx
from returns_service.web.context import Context
from returns_service.web.operations.bodies import B, Batch, Body
from returns_service.web.operations.parameters import Parameter
from returns_service.web.operations.query_string import WINDOW, Form, Query

StripeRead = PaymentSnapshot | RefundSnapshot | None


class Empty(Body):
    """A body without fields."""


@dataclass(frozen=True)
class OperationCall(Generic[B]):
    """A request that was let in and read: its actor (`by`), its body, and Stripe's answer before the transaction."""

    context: Context
    by: Actor
    path: Mapping[str, str]
    query: Query
    body: B
    stripe_read: StripeRead = None
    if_match: str | None = None
    scopes: frozenset[Scope] = frozenset()  # of the key, or of the person's role

    def may(self, scope: Scope) -> bool:
        """Return whether the caller may do what the scope names."""
        return allows(self.scopes, scope)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.context.policy

    def id(self, name: str) -> str:
        """Return an id out of the path."""
        return self.path[name]


@dataclass(frozen=True, slots=True)
class Reply:
    """A 2xx answer: built inside the transaction, so that it is what was committed."""

    body: msgspec.Struct
    headers: Mapping[str, str] = field(default_factory=dict)
    repeated: msgspec.Struct | None = None  # what a repeated request gets, where `body` holds a secret: it isn't kept

    def encode(self) -> str:
        """Return the body as JSON."""
        return msgspec.json.encode(self.body).decode()

    def encode_to_keep(self) -> str:
        """Return as JSON what is kept for a repeated request."""
        return msgspec.json.encode(self.repeated or self.body).decode()


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one item of a batch: its answer or its problem, as JSON's objects."""

    status: int
    answer: dict[str, Any] | None
    problem: dict[str, Any] | None
    replayed: bool


Work = Callable[[OperationCall[B], Tx], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class KeyRule:
    """When a request needs an Idempotency-Key: where a repeated one could move money or stock twice."""

    needs_key: Callable[[Any], bool]  # of the body
    always: bool = False  # for every body: the contract marks the header as required
    note: str = ""  # for the contract


KEY_OPTIONAL = KeyRule(lambda _: False)
KEY_REQUIRED = KeyRule(lambda _: True, always=True)
AnswerHeader = Literal["ETag", "Location"]


@dataclass(frozen=True, eq=False)
class Operation:
    """One method on one path. `before_transaction` asks Stripe, so that no transaction is open meanwhile."""

    method: Literal["GET", "POST", "DELETE"]
    path: str  # in OpenAPI's notation: `/v1/returns/{return_id}`
    name: str
    summary: str
    description: str
    tag: str
    scope: Scope
    work: Work[Any]
    answer: type[msgspec.Struct]
    status: int = 200
    receipts_only: type[msgspec.Struct] | None = None  # the answer to a caller who may not read returns
    headers: tuple[AnswerHeader, ...] = ()  # that every 2xx answer carries, beside those that all answers have
    body: type[Body] | None = None
    example: Mapping[str, Any] | None = None
    errors: tuple[ProblemCode, ...] = ()
    before_transaction: Callable[[OperationCall[Any]], Awaitable[StripeRead]] | None = None
    key_rule: KeyRule = KEY_OPTIONAL
    if_match: bool = False  # takes an `If-Match`: versions of the return in the path, or of its refund's return
    # Of a request that names itself in its body: whether it was done before. Doing it twice is then doing it once.
    is_done: Callable[[OperationCall[Any], Tx], Awaitable[bool]] | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)  # of the query, by name
    expandable: tuple[str, ...] = ()
    paged: bool = False  # a list: `limit`, `starting_after`, `ending_before`
    streams: bool = False  # can answer with live events
    each: Operation | None = None  # of a batch: the operation done with each item; `work` is its work
    show_batch: Callable[[Sequence[BatchResult]], msgspec.Struct] | None = None

    def repeats_safely(self, body: Any) -> bool:
        """Return whether doing it twice is doing it once even without an Idempotency-Key: the body names itself."""
        return self.is_done is not None and not self.key_rule.needs_key(body)

    @property
    def query_forms(self) -> dict[str, Form]:
        """How each parameter of the query string is written, by name."""
        return {**{name: one.form for name, one in self.parameters.items()}, **(WINDOW if self.paged else {})}

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"


Declared = Callable[[Work[B]], Operation]


class ReadOptions(TypedDict, total=False):
    """What a read may declare; see Operation."""

    headers: tuple[AnswerHeader, ...]
    errors: tuple[ProblemCode, ...]
    parameters: Mapping[str, Parameter]
    expandable: tuple[str, ...]
    paged: bool
    streams: bool
    before_transaction: Callable[[OperationCall[Any]], Awaitable[StripeRead]]


class WriteOptions(TypedDict, total=False):
    """What a write may declare; see Operation."""

    status: int
    receipts_only: type[msgspec.Struct]
    headers: tuple[AnswerHeader, ...]
    errors: tuple[ProblemCode, ...]
    before_transaction: Callable[[OperationCall[Any]], Awaitable[StripeRead]]
    key_rule: KeyRule
    if_match: bool
    is_done: Callable[[OperationCall[Any], Tx], Awaitable[bool]]


def reads(
    path: str,
    tag: str,
    answer: type[msgspec.Struct],
    *,
    scope: Scope = "returns:read",
    **options: Unpack[ReadOptions],
) -> Declared[Empty]:
    """Declare a read: a GET that locks nothing. `before_transaction` may ask Stripe, and keep what it said."""
    return lambda work: Operation("GET", path, *_words_of(work), tag, scope, work, answer, **options)


def writes(
    path: str,
    tag: str,
    answer: type[msgspec.Struct],
    *,
    scope: Scope,
    body: type[B],
    example: Mapping[str, Any],
    **options: Unpack[WriteOptions],
) -> Declared[B]:
    """Declare a write: a POST whose key, effect and answer are one transaction."""
    return lambda work: Operation(
        "POST", path, *_words_of(work), tag, scope, work, answer, body=body, example=example, **options
    )


def batches(
    path: str, tag: str, answer: type[msgspec.Struct], *, each: Operation, body: type[Batch], example: Mapping[str, Any]
) -> Callable[[Callable[[Sequence[BatchResult]], msgspec.Struct]], Operation]:
    """Declare a batch: a POST of many bodies of `each`; the function shows the results."""
    return lambda show: Operation(
        "POST", path, *_words_of(show), tag, each.scope, each.work, answer, body=body, example=example,
        key_rule=KEY_REQUIRED, each=each, show_batch=show,
    )  # fmt: skip


def deletes(
    path: str, tag: str, answer: type[msgspec.Struct], *, scope: Scope, errors: tuple[ProblemCode, ...] = ()
) -> Declared[Empty]:
    """Declare a removal: a DELETE without a body."""
    return lambda work: Operation("DELETE", path, *_words_of(work), tag, scope, work, answer, errors=errors)


def _words_of(work: Callable[..., Any]) -> tuple[str, str, str]:
    """Return an operation's id, summary and description: its handler's name and docstring."""
    summary, _, rest = (work.__doc__ or "").strip().partition("\n")
    name: str = getattr(work, "__name__", "")
    return name, summary.rstrip("."), " ".join(rest.split())
