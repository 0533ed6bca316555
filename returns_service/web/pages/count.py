"""Count one parcel: each scan counts one unit of its line; Done makes a receipt of them.

The page's script keeps every scan in the browser until the answer names it; without scripts each is a form of its own.
Both come here, and count under the id that the page gave them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from litestar import Response

from returns_service.commands import dock_scans
from returns_service.commands.counting import CountResult
from returns_service.commands.dock_scans import CONDITIONS, Draft, disposition_of, lock_draft, read_draft
from returns_service.commands.photos import move_photos
from returns_service.commands.sessions import scanner_of
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.roles import RECEIVE
from returns_service.domain.scan import clean_code
from returns_service.domain.vocabulary import Condition, find_word
from returns_service.queries.dock import return_for_code
from returns_service.queries.photos import photos_about
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.return_case.rows import has_scan_id
from returns_service.return_case.views import ReceiptView, rfc3339
from returns_service.store.database import Tx
from returns_service.store.tables import DockScan, ReturnLine
from returns_service.web.operations.bodies import validate
from returns_service.web.operations.operation import OperationCall, Reply
from returns_service.web.operations.receipts import CreateReceipt, create_receipt, reply_with_receipt
from returns_service.web.pages.forms import new_once
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.perform import perform
from returns_service.web.pages.problem_words import describe_problem
from returns_service.web.pages.receive import address_for
from returns_service.web.pages.rendering import plural, render

PLACES: Final[Mapping[str, tuple[str, str]]] = {  # where a unit goes -> icon, words
    "restock": ("restock", "Restock"),
    "scrap": ("scrap", "Scrap"),
    "return_to_customer": ("sendback", "Back to the customer"),
    "aside": ("aside", "Put aside"),
}
WORDS: Final = {"new": "New", "opened": "Opened", "damaged": "Damaged", "wrong_item": "Wrong item"}
COUNT_LABELS: Final = {"note:*": "Note"} | {f"*:{condition}": f"Units: {words}" for condition, words in WORDS.items()}
RETRIED: Final = ("idempotency_key_in_use", "database_unavailable")  # problems that pass: the browser sends it again


def new_scan_id() -> str:
    """Return an id for a scan that a form without scripts sends."""
    return secrets.token_hex(16)


@shows("/receive/{return_id:str}", scope=RECEIVE)
async def show_count(call: PageCall) -> Response[Any]:
    """Show a parcel being counted."""
    return await _page(call, call.path("return_id"))


async def _page(
    call: PageCall, return_id: str, *, status: int = 200, error: str | None = None, failed: str = ""
) -> Response[Any]:
    """Show a parcel; `failed`: the form that was refused, which shows again what was typed into it."""
    async with call.context.database.reading() as tx:
        draft = await read_draft(tx, return_id)
        last = await tx.get(DockScan, call.query("last")) if call.query("last") else None
        at = tx.now
        photos = await photos_about(tx, [scan.id for scan in draft.aside])
    if last is None or last.return_id != return_id:
        last = draft.scans[-1] if draft.scans else None
    return render(
        call, "count.html", status=status, error=error, draft=draft, last=last, at=rfc3339(at),
        came=[line for line in draft.lines if not draft.open_units(line)],
        said=outcome(draft, last, call.context.policy) if last is not None else None,
        conditions=[_choice(draft, c, call.context.policy) for c in CONDITIONS],
        photos=photos, once=new_once,
        scan_id=new_scan_id(), done_id=new_scan_id(), places_of_units=PLACES,
        undone=last is not None and last.undone_at is not None, failed=failed,
        typed={name: values[0] for name, values in call.form.items() if values} if failed else {},
    )  # fmt: skip


def _choice(draft: Draft, condition: Condition, policy: Policy) -> dict[str, str]:
    icon, words = PLACES[disposition_of(draft, condition, policy)]
    return {"value": condition, "label": WORDS[condition], "icon": icon, "goes": words}


def outcome(draft: Draft, scan: DockScan, policy: Policy) -> dict[str, str]:
    """Return what the dock is told of a scan: did it count, and where does the unit in the hand go."""
    line = draft.line(scan.line_id)
    of = {"line": line.id if line is not None else ""}  # for the page, whose own guess may have been another
    icon, words = PLACES[disposition_of(draft, scan.condition, policy) if line is not None else "aside"]
    if scan.undone_at is not None:
        return {"kind": "ok", "message": "Taken back", "text": scan.code, "icon": "aside", "goes": "Back in the parcel"}
    if line is not None:
        message = f"Counted: {draft.units(line).total()} of {draft.open_units(line)}"
        return of | {"kind": "ok", "message": message, "text": line.title or line.sku, "icon": icon, "goes": words}
    if scan.surplus:
        full = [line for line in draft.lines if line.sku == scan.code]
        message = f"One too many: {sum(map(draft.open_units, full))} expected"
        text = (full[0].title or scan.code) if full else scan.code
        return of | {"kind": "warn", "message": message, "text": text, "icon": icon, "goes": words}
    return of | {"kind": "danger", "message": "Not on this return", "text": scan.code, "icon": icon, "goes": words}


# --- without scripts: a form each ------------------------------------------------------------------------------------


@posts("/receive/{return_id:str}/scan", scope=RECEIVE, labels={"q": "Scanned"})
async def scan_by_form(call: PageCall) -> Response[Any]:
    """Count what was scanned into the box."""
    return_id, code = call.path("return_id"), call.field("q")
    if not clean_code(code):
        return redirect(f"/receive/{return_id}")
    answer = await count_code(call, call.by, return_id, call.field("scan_id") or new_scan_id(), code)
    return redirect(answer.get("url") or f"/receive/{return_id}?last={answer['scan_id']}")


@posts("/receive/{return_id:str}/condition", scope=RECEIVE)
async def condition_by_form(call: PageCall) -> Response[Any]:
    """Say in what condition the last unit is."""
    return_id, scan_id, condition = call.path("return_id"), call.field("scan_id"), call.field("condition")
    await call.context.database.run(lambda tx: dock_scans.set_condition(tx, return_id, scan_id, condition))
    return redirect(f"/receive/{return_id}?last={scan_id}")


@posts("/receive/{return_id:str}/undo", scope=RECEIVE)
async def undo_by_form(call: PageCall) -> Response[Any]:
    """Take the last scan back."""
    return_id, scan_id = call.path("return_id"), call.field("scan_id")
    await call.context.database.run(lambda tx: dock_scans.undo_scan(tx, return_id, scan_id))
    return redirect(f"/receive/{return_id}?last={scan_id}")


@posts("/receive/{return_id:str}/aside", scope=RECEIVE, labels={"what": "Put aside", "note": "Note"})
async def aside_by_form(call: PageCall) -> Response[Any]:
    """Put a unit without a barcode aside."""
    return_id, what, note = call.path("return_id"), call.field("what"), call.field("note")
    scan_id = dock_scans.checked_scan_id(call.field("scan_id"))
    try:
        await call.context.database.run(
            lambda tx: dock_scans.put_aside(tx, call.by, return_id, scan_id, what=what, note=note)
        )
    except Problem as problem:
        if problem.code != "invalid_request":
            raise
        return await _page(call, return_id, status=422, error=problem.detail, failed="aside")
    return redirect(f"/receive/{return_id}?last={scan_id}")


@posts("/receive/{return_id:str}/counts", scope=RECEIVE, labels=COUNT_LABELS)
async def counts_by_form(call: PageCall) -> Response[Any]:
    """Take the counts typed by hand and the notes; then one step more or less, or Done."""
    return_id, database = call.path("return_id"), call.context.database
    removed = call.field("remove")
    if removed:
        await database.run(lambda tx: dock_scans.undo_scan(tx, return_id, removed))
        return redirect(f"/receive/{return_id}?last={removed}")
    refused = await database.run(lambda tx: _take_typed(tx, call, return_id))
    if refused:
        return await _page(call, return_id, status=422, error=refused, failed="counts")
    if call.field("done"):
        try:
            receipt = await write_receipt(call, call.by, return_id, call.field("done_id") or new_scan_id())
        except Problem as problem:
            if problem.kind.status not in (409, 422):
                raise
            return await _page(call, return_id, status=problem.kind.status, error=describe_problem(problem).text)
        return redirect(f"/receive?did={receipt['id']}")
    return redirect(f"/receive/{return_id}")


async def _take_typed(tx: Tx, call: PageCall, return_id: str) -> str | None:
    """Take the numbers and notes of the form, all or none; return what is wrong with them, None if nothing is."""
    draft = await lock_draft(tx, return_id)
    wanted = {line.id: _wanted_units(call, draft, line) for line in draft.lines}
    for line in draft.lines:
        units, name = wanted[line.id], line.title or line.sku
        if units is None:
            return f"Counts of {name} are whole numbers from 0 to 9999."
        if sum(units.values()) > draft.open_units(line):
            expected = plural(draft.open_units(line), "unit")
            return f"{name}: {expected} expected. Put the others aside, as items without a barcode."
    for line in draft.lines:
        have = draft.units(line)
        changes = {condition: number - have[condition] for condition, number in (wanted[line.id] or {}).items()}
        for condition in sorted(changes, key=lambda c: changes[c]):  # fewer first: there is never one too many
            if changes[condition]:
                await dock_scans.step_by_hand(
                    tx, call.by, return_id, new_scan_id(), line_id=line.id, condition=condition,
                    units=changes[condition],
                )  # fmt: skip
    notes = {name.removeprefix("note:"): values[0] for name, values in call.form.items() if name.startswith("note:")}
    await dock_scans.set_notes(tx, return_id, notes)
    return None


def _wanted_units(call: PageCall, draft: Draft, line: ReturnLine) -> dict[Condition, int] | None:
    """Return the units of a line that the form asks for, by condition; None where a number is none."""
    have = draft.units(line)
    typed = {condition: call.field(f"{line.id}:{condition}") or str(have[condition]) for condition in CONDITIONS}
    if not all(number.isascii() and number.isdecimal() and len(number) <= 4 for number in typed.values()):
        return None
    wanted = {condition: int(number) for condition, number in typed.items()}
    step_line, _, step = call.field("step").partition(" ")
    stepped = find_word(CONDITIONS, step_line.removeprefix(f"{line.id}:"))
    if stepped is not None and step in ("1", "-1"):
        wanted[stepped] = max(0, wanted[stepped] + int(step))
    return wanted


# --- with scripts: the browser's queue -------------------------------------------------------------------------------


@posts("/receive/queue", scope=RECEIVE)
async def take_from_queue(call: PageCall) -> Response[Any]:
    """Take one entry of a browser's queue, and answer under its id: the browser forgets it only then."""
    entry = {name: value for name, value in (call.json or {}).items() if isinstance(value, str | int)}
    scan_id = str(entry.get("scan_id", ""))
    try:
        dock_scans.checked_scan_id(scan_id)
        answer = await _take(call, entry, scan_id)
    except Problem as problem:
        if problem.code in RETRIED:
            raise
        body = {"scan_id": scan_id, "code": problem.code, "detail": describe_problem(problem).text}
        return Response(body, status_code=problem.kind.status, headers={"Cache-Control": "no-store"})
    return Response({"scan_id": scan_id, **answer}, headers={"Cache-Control": "no-store"})


async def _take(call: PageCall, entry: Mapping[str, Any], scan_id: str) -> dict[str, Any]:
    database = call.context.database
    where, code = clean_code(str(entry.get("return", ""))), str(entry.get("code", ""))
    async with database.reading() as tx:
        scanner = await scanner_of(tx, str(entry.get("token", "")))
        return_id = await return_for_code(tx, where) if where else None
    by = replace(call.by, actor=scanner.id) if scanner is not None else call.by
    if return_id is None:
        if where:
            raise Problem("not_found", f"No return has the number {where}.")
        return {"url": await address_for(call, clean_code(code))}
    if code:
        return await count_code(call, by, return_id, scan_id, code)
    if entry.get("done"):
        notes = {n.removeprefix("note:"): str(v) for n, v in entry.items() if n.startswith("note:")}
        await database.run(lambda tx: dock_scans.set_notes(tx, return_id, notes))
        receipt = await write_receipt(call, by, return_id, scan_id)
        return {"url": f"/receive?did={receipt['id']}", "done": receipt["id"]}
    return await _change(call, by, entry, return_id, scan_id)


async def _change(call: PageCall, by: Actor, entry: Mapping[str, Any], return_id: str, scan_id: str) -> dict[str, Any]:
    condition = str(entry.get("condition", ""))

    async def work(tx: Tx) -> dict[str, Any]:
        scan: DockScan | None
        if "undo" in entry:
            scan = await dock_scans.undo_scan(tx, return_id, str(entry["undo"]))
        elif "of" in entry:
            scan = await dock_scans.set_condition(tx, return_id, str(entry["of"]), condition)
        else:
            units = entry.get("step")
            if type(units) is not int:
                raise Problem("invalid_request", "An entry holds a code, a step, an undo, a condition or done.")
            scan = await dock_scans.step_by_hand(
                tx, by, return_id, scan_id, line_id=str(entry.get("line", "")), condition=condition, units=units
            )
        return await _show_counts(call, tx, return_id, scan)

    return await call.context.database.run(work, safe_to_repeat=True)


async def count_code(call: PageCall, by: Actor, return_id: str, scan_id: str, code: str) -> dict[str, Any]:
    """Count a code on a return, unless it names another return: then say where that is."""
    clean = clean_code(code)
    async with call.context.database.reading() as tx:
        named = await return_for_code(tx, clean)
    if named is not None and named != return_id:
        return {"scan_id": scan_id, "url": f"/receive/{named}"}
    if named is not None:
        async with call.context.database.reading() as tx:
            said = await _show_counts(call, tx, return_id, None)
        return said | {"scan_id": scan_id, "kind": "ok", "message": "This return is open", "text": clean}

    async def work(tx: Tx) -> dict[str, Any]:
        scan = await dock_scans.count_scan(tx, by, return_id, scan_id, code)
        return await _show_counts(call, tx, return_id, scan)

    return await call.context.database.run(work, safe_to_repeat=True) | {"scan_id": scan_id}


async def _show_counts(call: PageCall, tx: Tx, return_id: str, scan: DockScan | None) -> dict[str, Any]:
    """Return what the page shows after a change: all counts as they are now, and what became of the scan."""
    draft = await read_draft(tx, return_id)
    counts = {f"{line.id}:{c}": n for line in draft.lines for c, n in draft.units(line).items() if n}
    shown: dict[str, Any] = {"counts": counts, "aside": len(draft.aside), "at": rfc3339(tx.now)}
    return shown | (outcome(draft, scan, call.context.policy) if scan is not None else {})


# --- done ------------------------------------------------------------------------------------------------------------


async def write_receipt(call: PageCall, by: Actor, return_id: str, once: str) -> dict[str, Any]:
    """Make one receipt of what is counted, through the API's own operation; once, however often it is sent.

    The scans it took are marked in the same transaction: a later one begins the next parcel. Raises Problem.
    """
    dock_scans.checked_scan_id(once)

    async def work(operation_call: OperationCall[CreateReceipt], tx: Tx) -> Reply:
        case = await lock_case(tx, operation_call.by, operation_call.policy, return_id)  # the payment first
        receipt = next((receipt for receipt in case.receipts if has_scan_id(receipt, once)), None)
        if receipt is not None:  # sent again after days, its key forgotten
            return reply_with_receipt(CountResult(case, receipt, known=True))
        draft = await lock_draft(tx, return_id)
        body = validate(CreateReceipt, draft.body(once))
        reply = await create_receipt.work(replace(operation_call, body=body), tx)
        if not isinstance(reply.body, ReceiptView):
            raise TypeError("create_receipt answers with its receipt")
        await dock_scans.mark_taken(tx, draft, reply.body.id)
        await move_photos(tx, {scan.id: _place_in(reply.body, scan) for scan in draft.aside})
        return reply

    operation = replace(create_receipt, work=work, body=None)
    return await perform(call, operation, {"return_id": return_id}, {}, once, by=by)


def _place_in(receipt: ReceiptView, scan: DockScan) -> str:
    """Return the item of a receipt that a unit put aside became."""
    known = (item.id for item in receipt.undeclared if (item.sku, item.note) == (scan.code, scan.note))
    return next(known, receipt.id)


PAGES: Final[tuple[Page, ...]] = (
    show_count, scan_by_form, condition_by_form, undo_by_form, aside_by_form, counts_by_form, take_from_queue,
)  # fmt: skip
