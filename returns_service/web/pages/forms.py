"""What people do by a form: declared once beside the operation it asks for, for its dialog, its page and its refusal.

A form carries a one-time token, which is the idempotency key of its operation: a double click is one act.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

from litestar import Response

from returns_service.domain.money import exponent, format_amount
from returns_service.domain.problems import Problem
from returns_service.domain.roles import RECEIVE
from returns_service.queries.history import events_of_request
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_case
from returns_service.store.database import Tx
from returns_service.web.errors import request_id_of
from returns_service.web.operations.operation import Operation
from returns_service.web.pages.handler import ASKS, redirect, safe_path
from returns_service.web.pages.page import Page, PageCall
from returns_service.web.pages.perform import perform
from returns_service.web.pages.problem_words import describe_problem, field_of
from returns_service.web.pages.rendering import render
from returns_service.web.pages.stories import told_first
from returns_service.web.pages.visitor import CSRF_FIELD

FieldKind = Literal["text", "area", "amount", "choice", "number", "flag", "hidden"]
Choices = Mapping[str, Sequence[tuple[str, str]]]  # field -> what can be chosen: value, words
TYPED_KINDS: Final[Collection[FieldKind]] = ("text", "area", "amount", "number")
ONCE: Final = "once"  # the field with the one-time token
NEXT: Final = "next"  # the field with the page that leads on
SAID: Final = "said"  # the field with the amount that the button named, as it was typed
CHANGE: Final = "change"  # the button beside a question about an amount, for another one
NOT_IN_BODIES: Final = ("currency", "if_match")  # fields that say how the others are read, or when they hold
_ONCE: Final = re.compile(r"[0-9A-Za-z_-]{8,64}")
_AMOUNT: Final = re.compile(r"[0-9]{1,13}(\.[0-9]{1,3})?")
_PATH_NAMES: Final = re.compile(r"\{(\w+):str\}")
SHOWN_AGAIN: Final = (404, 409, 412, 422, 503)  # a refusal with these keeps what was typed


def new_once() -> str:
    """Return a one-time token for a form."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class FormField:
    """One field of a form. An empty one is not sent; a required one that is empty says `missing`."""

    name: str
    label: str = ""
    kind: FieldKind = "text"
    hint: str = ""
    required: bool = False
    missing: str = ""
    choices: Sequence[tuple[str, str]] = ()
    starters: Sequence[tuple[str, str]] = ()  # label, text: what a sentence may start from
    only_if_required: bool = False  # asked for where the case needs it, or the operation said so


@dataclass(frozen=True, eq=False)
class FormAct:
    """An operation that people ask for by a form at `path`, whose parts are named as the operation's are."""

    name: str
    path: str
    label: str
    operation: Operation
    fields: Sequence[FormField] = ()
    danger: bool = False
    build: Callable[[PageCall], dict[str, Any]] | None = None  # the body, where it is not just the fields
    home: str = "/"  # where it leads on to, unless the form says
    names: str = ""  # what its button says of an amount that is typed: `Refund {}`; it is done only where that was said
    only_looks: bool = False  # nothing may have happened: what is known now is told instead
    ask_again: Callable[[ReturnCase], Act] | None = None  # of a return that changed meanwhile: what is decided now
    choices: Callable[[PageCall, Tx], Awaitable[Choices]] | None = None  # of fields that depend on what it is about

    @property
    def page(self) -> Page:
        """The page that takes the form, open to the operation's scope."""

        async def work(call: PageCall) -> Response[Any]:
            return await do_act(self, call)

        async def show_again(call: PageCall, problem: Problem) -> Response[Any]:
            return await show_refused(call, self, problem, once=call.field(ONCE))

        labels = {one.name: one.label for one in self.fields if one.kind in TYPED_KINDS}
        return Page(
            "POST", self.path, f"page_{self.name}", work, self.operation.scope, self.operation.scope != RECEIVE,
            labels=labels, show_again=show_again,
        )  # fmt: skip


@dataclass(frozen=True)
class Act:
    """A form as one page offers it, with its consequence in words. `direct`: nothing is asked first."""

    form: FormAct
    url: str
    question: str  # with `{}` for an amount that is typed
    text: str
    button: str
    label: str
    values: Mapping[str, str] = field(default_factory=dict)
    choices: Choices = field(default_factory=dict)  # of fields that depend on the case
    primary: bool = False
    direct: bool = False
    required: frozenset[str] = frozenset()  # fields that this case needs
    keep: str = "Keep as it is"
    once: str = field(default_factory=new_once)

    @property
    def id(self) -> str:
        """The dialog's id in the page: the same each time the page is shown."""
        return f"{self.form.name}-{hashlib.sha256(self.url.encode()).hexdigest()[:8]}"

    @property
    def fields(self) -> Sequence[FormField]:
        """The form's fields that this case asks for."""
        return [one for one in self.form.fields if not one.only_if_required or one.name in self.required]


async def do_act(act: FormAct, call: PageCall) -> Response[Any]:
    """Do what a form asks, lead on, and say there what happened; refused, show the form again as it was typed."""
    once = checked_once(call.field(ONCE))
    names = _PATH_NAMES.findall(act.path)
    path = {name: call.path(name) for name in names}
    try:
        body = act.build(call) if act.build is not None else body_of(act.fields, call)
        if act.names and call.field(CHANGE):
            return await show_refused(call, act, None, once=once)
        if act.names and call.field(SAID) != call.field("amount"):
            return _ask_about_amount(call, act, body["amount"])
        answer = await perform(call, act.operation, path, body, once, if_match=call.field("if_match") or None)
    except Problem as problem:
        if problem.kind.status not in SHOWN_AGAIN or (problem.kind.status == 404 and problem.code == "not_found"):
            raise
        asked = None
        if problem.code == "version_mismatch" and act.ask_again is not None:
            asked = act.ask_again(await _load_case(call, path["return_id"]))
        return await show_refused(call, act, problem, asked)
    if act.only_looks:
        return redirect(with_parameter(next_of(call, act.home), "checked", path.get("refund_id")))
    async with call.context.database.reading() as tx:
        named = {*path.values(), *(answer.get(name) for name in ("id", "return"))}
        subjects = sorted(name for name in named if isinstance(name, str))
        events = await events_of_request(tx, call.by.actor, request_id_of(call.request), subjects)
    return redirect(with_parameter(next_of(call, act.home), "did", told_first(events)))


def _ask_about_amount(call: PageCall, act: FormAct, amount: int) -> Response[Any]:
    """Ask once more, about the very amount (minor units) that was typed: the button that was pressed named another."""
    said = format_amount(amount, call.field("currency"))
    sent = [
        (name, text) for name, texts in call.form.items() if name not in (CSRF_FIELD, SAID, CHANGE) for text in texts
    ]
    labels = {one.name: one.label for one in act.fields if one.kind in TYPED_KINDS and one.name != "amount"}
    return render(
        call, "amount_asked.html", act=act, sent=[*sent, (SAID, call.field("amount"))], back=next_of(call, act.home),
        asks=(call.field(ASKS) or f"{act.names}?").replace("{}", said), button=act.names.replace("{}", said),
        typed=[(label, call.field(name)) for name, label in labels.items() if call.field(name)],
    )  # fmt: skip


async def _load_case(call: PageCall, return_id: str) -> ReturnCase:
    async with call.context.database.reading() as tx:
        return await load_case(tx, call.context.policy, return_id)


def checked_once(text: str) -> str:
    """Return a form's one-time token. Raises Problem invalid_request for a form that is none of ours."""
    if not _ONCE.fullmatch(text):
        raise Problem("invalid_request", "The form came without its one-time token: open the page again.")
    return text


def next_of(call: PageCall, otherwise: str) -> str:
    """Return the page that a form leads on to, one of ours."""
    return safe_path(call.field(NEXT)[:500], otherwise) if call.field(NEXT) else otherwise


def with_parameter(path: str, name: str, value: str | None) -> str:
    """Return an address with one parameter more; without one, as it is."""
    if not value:
        return path
    return f"{path}{'&' if '?' in path else '?'}{name}={value}"


async def show_refused(
    call: PageCall, act: FormAct, problem: Problem | None, asked: Act | None = None, once: str = ""
) -> Response[Any]:
    """Show a form again with all that was typed: why it was refused, or, without a problem, to be changed.

    `asked`: the question as it is by now. `once`: the form's one-time token where it stays good, since nothing was
    tried by it.
    """
    typed = {name: (values[0] if values else "") for name, values in call.form.items() if name != CSRF_FIELD}
    if asked is not None:  # sent again, what is asked now is meant
        typed |= asked.values
    choices: Choices = {}
    if act.choices is not None:
        async with call.context.database.reading() as tx:
            choices = await act.choices(call, tx)
    wrong = field_of(problem, [one.name for one in act.fields if one.kind != "hidden"]) if problem else ""
    status = problem.kind.status if problem else 200
    return render(
        call, "act_refused.html", status=status, act=act, typed=typed, wrong=wrong, choices=choices,
        words=describe_problem(problem, call.field("currency")) if problem else None, back=next_of(call, act.home),
        once=once if _ONCE.fullmatch(once) else new_once(), asks=call.field(ASKS), asked=asked,
        is_hopeless=status in (404, 409) and not wrong and asked is None,
    )  # fmt: skip


def body_of(fields: Sequence[FormField], call: PageCall) -> dict[str, Any]:
    """Return the body that fields make, without the empty ones. Raises Problem invalid_request."""
    body: dict[str, Any] = {}
    for one in fields:
        text = call.field(one.name)
        if not text and one.required:
            raise wrong_field(one.name, one.missing or f"{one.label}: this is needed.")
        if not text or one.name in NOT_IN_BODIES:
            continue
        if one.kind == "amount":
            body[one.name] = parse_amount(text, call.field("currency"), one.name)
        elif one.kind == "number":
            body[one.name] = parse_units(text, one.name)
        elif one.kind == "flag":
            body[one.name] = True
        else:
            body[one.name] = text.replace("\r\n", "\n")
    return body


def wrong_field(name: str, message: str) -> Problem:
    """Return the problem of one field, told at the field."""
    return Problem("invalid_request", message, param=name, errors=[{"param": name, "code": "invalid"}])


def parse_amount(text: str, currency: str, name: str) -> int:
    """Return an amount typed as `22.35` in minor units. Raises Problem invalid_request."""
    digits = exponent(currency) if re.fullmatch(r"[a-z]{3}", currency) else 2
    typed = text.replace("\u202f", "").replace("\u00a0", "").replace(" ", "")
    after_point = len(typed.partition(".")[2])
    if not typed.isascii() or not _AMOUNT.fullmatch(typed) or after_point > digits:
        example = "22" if digits == 0 else f"22.{'350'[:digits]}"
        raise wrong_field(name, f"Write the amount like {example}, without a currency or other signs.")
    return int(Decimal(typed).scaleb(digits))


def parse_units(text: str, name: str) -> int:
    """Return a whole number of units. Raises Problem invalid_request."""
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or int(text) == 0:
        raise wrong_field(name, "Write a whole number of units, for example 2.")
    return int(text)


def type_amount(amount: int, currency: str) -> str:
    """Return an amount (minor units) as a person would type it: `22.35`."""
    return f"{Decimal(amount).scaleb(-exponent(currency)):f}"
