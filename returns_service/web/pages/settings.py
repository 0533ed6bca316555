"""Settings, for admins: keys, people, webhook endpoints with their deliveries, devices, the policy in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from litestar import Response

from returns_service.commands import api_keys, devices, staff_users
from returns_service.commands.once import done_before
from returns_service.commands.sessions import end_anybodys_session, end_sessions
from returns_service.commands.webhook_deliveries import describe_disabled
from returns_service.domain.money import format_amount
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.roles import ADMIN
from returns_service.domain.vocabulary import ROLES, SCOPES
from returns_service.queries.settings import read_settings
from returns_service.store.database import Tx
from returns_service.web.operations.deliveries import retry_one_delivery
from returns_service.web.operations.webhook_endpoints import (
    create_webhook_endpoint,
    delete_webhook_endpoint,
    rotate_webhook_secret,
    test_webhook_endpoint,
    update_webhook_endpoint,
)
from returns_service.web.pages.forms import ONCE, checked_once, new_once, wrong_field
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.perform import perform
from returns_service.web.pages.portal_progress import qr_path
from returns_service.web.pages.problem_words import describe_problem, field_of
from returns_service.web.pages.rendering import render
from returns_service.web.pages.scanner_test import TEST_CODE, judge_scan

MAY: Final = {
    "returns:read": "Read returns, refunds, events", "returns:write": "Ask for returns, close, cancel",
    "returns:approve": "Approve and decline", "receipts:write": "Receive", "refunds:write": "Move money",
    "admin": "Everything, also keys and webhooks",
}  # fmt: skip


class Told(NamedTuple):
    """What just happened, and the section of the page that says it: a browser scrolls there."""

    section: str
    words: str
    kind: str = "ok"


DID: Final = {
    "revoked": Told("keys", "The key is revoked: its calls are refused from now on."),
    "role": Told("people", "The role is changed. It counts from that person’s next page on."),
    "disabled": Told("people", "That person is signed out everywhere and can’t sign in."),
    "disabled_but_keys": Told(
        "people",
        "That person is signed out everywhere and can’t sign in. API keys of theirs stay in force for the programs "
        "that use them: revoke those that shall end, under Keys.", "warn",
    ),
    "enabled": Told("people", "That person can sign in again."),
    "approved": Told("devices", "The device is approved: badges and PINs open it for receiving."),
    "device_revoked": Told("devices", "The device is out of use. Sessions on it are over."),
    "redelivered": Told("hooks", "It is sent again now. Look again in a moment."),
    "endpoint_on": Told("hooks", "The endpoint is on: it is sent all it missed."),
    "endpoint_off": Told("hooks", "The endpoint is off: it is told nothing more."),
    "endpoint_gone": Told("hooks", "The endpoint is deleted, and its deliveries with it."),
    "session_over": Told("people", "That session is over: its browser has to sign in again."),
    "sessions_over": Told("people", "That person is signed out everywhere."),
    "pinged": Told("hooks", "A ping is on its way. Look at its delivery in a moment."),
}  # fmt: skip
FIELDS: Final = {  # form -> its fields, in their order
    "new-key": ("name", "scope"), "invite": ("email", "name", "role"), "new-endpoint": ("url", "description"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that is shown once: its name, and the text to copy. `text` None: it was shown before."""

    title: str
    text: str | None


@shows("/settings", scope=ADMIN, personal=True)
async def show_settings(call: PageCall) -> Response[Any]:
    """Show everything that can be set here."""
    return await _page(call)


async def _page(
    call: PageCall, *, secret: Secret | None = None, problem: Problem | None = None, form: str = ""
) -> Response[Any]:
    async with call.context.database.reading() as tx:
        found = await read_settings(tx)
    status = problem.kind.status if problem is not None else 200
    typed = {name: values[0] for name, values in call.form.items() if values}
    fields = FIELDS.get(form, ())
    return render(
        call, "settings.html", status=status, settings=found, secret=secret, problem=problem, failed=form, typed=typed,
        wrong=describe_problem(problem).text if problem else "", ticked=call.form.get("scope", ()),
        wrong_at=(field_of(problem, fields) if problem else "") or next(iter(fields), ""),
        did=DID.get(call.query("did")), once=new_once, may=MAY, scopes=SCOPES, roles=ROLES,
        policy=policy_lines(call.context.policy), policy_file=call.context.settings.policy, why_off=describe_disabled,
        test_code=TEST_CODE, test_drawing=qr_path(TEST_CODE), heard=judge_scan(call.query("scan")),
    )  # fmt: skip


def policy_lines(policy: Policy) -> list[tuple[str, str]]:
    """Return the policy in force as names and values."""

    def amounts(table: Any) -> str:
        return ", ".join(format_amount(amount, currency) for currency, amount in sorted(table.items())) or "never"

    fees = [
        f"{condition} {fee.basis_points / 100:g} %" for condition, fee in policy.restocking.items() if fee.basis_points
    ]
    return [
        ("Window", f"{policy.window_days} days from {policy.window_from}"),
        ("Refund", {"receipt": "on receipt", "approval": "on approval", "manual": "by a person"}[policy.refund_on]
         + (f", after {policy.refund_delay // 60} minutes" if policy.refund_delay else "")),
        ("Pays for", ", ".join(policy.accepted_conditions)),
        ("Approved without a person below", amounts(policy.auto_approve_below)),
        ("Two people above", amounts(policy.second_person_above)),
        ("Restocking fee", ", ".join(fees) or "none"),
        ("Return label", amounts(policy.label_cost) if policy.label_cost else "free"),
        ("Shipping refunded", policy.shipping_refunded.replace("_", " ")),
        ("Never taken back", ", ".join(policy.excluded_skus) or "nothing"),
        ("Refunds from Stripe’s Dashboard", {"hold": "hold the payment"}.get(policy.external_refunds, "are ignored")),
    ]  # fmt: skip


@posts("/settings/keys", scope=ADMIN, personal=True, labels={"name": "Name", "scope": "It may"})
async def make_key(call: PageCall) -> Response[Any]:
    """Make an API key, and show its secret once."""
    once, name = checked_once(call.field(ONCE)), call.field("name")
    scopes = [scope for scope in SCOPES if scope in call.form.get("scope", [])]

    async def work(tx: Tx) -> str | None:
        if await done_before(tx, call.by.actor, "settings/keys", once):
            return None
        if not scopes:
            raise wrong_field("scope", "Choose at least one thing that it may do.")
        # Else whoever makes it here would be the second person to what they decide.
        return (await api_keys.create_key(tx, name, scopes, owner=call.signed_in.user.email))[1]

    try:
        secret = await call.context.database.run(work)
    except Problem as problem:
        return await _show_refusal(call, problem, "new-key")
    title = "Copy this key now. It is not shown again" if secret else "This key was made and shown before"
    return await _page(call, secret=Secret(title, secret))


async def _show_refusal(call: PageCall, problem: Problem, form: str) -> Response[Any]:
    if problem.kind.status not in (404, 409, 422):
        raise problem
    return await _page(call, problem=problem, form=form)


@posts("/settings/keys/{key_id:str}/revoke", scope=ADMIN, personal=True)
async def revoke_key(call: PageCall) -> Response[Any]:
    """Put a key out of force."""
    key_id = call.path("key_id")
    await call.context.database.run(lambda tx: api_keys.revoke_key(tx, key_id), safe_to_repeat=True)
    return redirect("/settings?did=revoked#keys")


@posts("/settings/people", scope=ADMIN, personal=True, labels={"email": "E-mail", "name": "Name", "role": "Role"})
async def invite(call: PageCall) -> Response[Any]:
    """Let somebody in: show the link that signs them in, once."""
    once, by = checked_once(call.field(ONCE)), call.by.actor

    async def work(tx: Tx) -> str | None:
        if await done_before(tx, by, "settings/people", once):
            return None
        user = await staff_users.add_user(tx, call.field("email"), call.field("role"), name=call.field("name") or None)
        return await staff_users.make_link(tx, user, by)

    try:
        token = await call.context.database.run(work)
    except Problem as problem:
        return await _show_refusal(call, problem, "invite")
    return await _page(call, secret=_link(call, token))


def _link(call: PageCall, token: str | None) -> Secret:
    if token is None:
        return Secret("This link was made and shown before", None)
    base = call.context.settings.public_url or str(call.request.base_url)
    return Secret("Send this link now. It signs in once, within 15 minutes", f"{base.rstrip('/')}/sign-in/link/{token}")


@posts("/settings/people/{user_id:str}/link", scope=ADMIN, personal=True)
async def make_link(call: PageCall) -> Response[Any]:
    """Make another link for somebody who can't sign in."""
    once, by, user_id = checked_once(call.field(ONCE)), call.by.actor, call.path("user_id")

    async def work(tx: Tx) -> str | None:
        if await done_before(tx, by, f"settings/people/{user_id}/link", once):
            return None
        user = await staff_users.user_by_id(tx, user_id)
        if user.disabled_at is not None:
            raise Problem("invalid_request", "Enable this person first.")
        return await staff_users.make_link(tx, user, by)

    try:
        token = await call.context.database.run(work)
    except Problem as problem:
        return await _show_refusal(call, problem, "people")
    return await _page(call, secret=_link(call, token))


@posts("/settings/people/{user_id:str}/change", scope=ADMIN, personal=True)
async def change_person(call: PageCall) -> Response[Any]:
    """Give a person another role, disable or enable them; nobody does that to themselves."""
    user_id, wanted = call.path("user_id"), call.field("do")
    if user_id == call.signed_in.user.id:
        problem = Problem("invalid_request", "Another admin has to do that: nobody can lock themselves out.")
        return await _show_refusal(call, problem, "people")

    async def work(tx: Tx) -> str:
        user = await staff_users.user_by_id(tx, user_id)
        if wanted == "disable":
            await staff_users.disable_user(tx, user.email)
            return "disabled_but_keys" if await api_keys.keys_of_person(tx, user.email) else "disabled"
        if wanted == "enable":
            await staff_users.enable_user(tx, user.email)
            return "enabled"
        if wanted == "sign_out":
            await end_sessions(tx, user_id)
            return "sessions_over"
        await staff_users.change_user(tx, user.email, role=call.field("role"))
        return "role"

    try:
        did = await call.context.database.run(work, safe_to_repeat=True)
    except Problem as problem:
        return await _show_refusal(call, problem, "people")
    return redirect(f"/settings?did={did}#people")


@posts("/settings/sessions/{session_id:str}/end", scope=ADMIN, personal=True)
async def end_one_session(call: PageCall) -> Response[Any]:
    """End somebody's session."""
    session_id = call.path("session_id")
    await call.context.database.run(lambda tx: end_anybodys_session(tx, session_id), safe_to_repeat=True)
    return redirect("/settings?did=session_over#people")


@posts("/settings/devices/{device_id:str}", scope=ADMIN, personal=True)
async def change_device(call: PageCall) -> Response[Any]:
    """Approve a device that asked, or put one out of use."""
    device_id, by = call.path("device_id"), call.by.actor
    approves = call.field("do") == "approve"

    async def work(tx: Tx) -> None:
        if approves:
            await devices.approve_device(tx, device_id, by)
        else:
            await devices.revoke_device(tx, device_id)

    await call.context.database.run(work, safe_to_repeat=True)
    return redirect(f"/settings?did={'approved' if approves else 'device_revoked'}#devices")


@posts("/settings/webhooks", scope=ADMIN, personal=True, labels={"url": "URL", "description": "What it is"})
async def add_endpoint(call: PageCall) -> Response[Any]:
    """Tell a URL what happens from now on, and show its signing secret once."""
    once = checked_once(call.field(ONCE))
    body = {"url": call.field("url"), "events": ["*"]}
    if call.field("description"):
        body["description"] = call.field("description")
    try:
        answer = await perform(call, create_webhook_endpoint, {}, body, once)
    except Problem as problem:
        return await _show_refusal(call, problem, "new-endpoint")
    secret = answer.get("secret")
    title = "Copy this signing secret now. It is not shown again" if secret else "This endpoint was made before"
    return await _page(call, secret=Secret(title, secret))


@posts("/settings/webhooks/{endpoint_id:str}", scope=ADMIN, personal=True)
async def change_endpoint(call: PageCall) -> Response[Any]:
    """Turn an endpoint on or off, send it a ping, give it a new secret, or delete it."""
    once, path = checked_once(call.field(ONCE)), {"endpoint_id": call.path("endpoint_id")}
    wanted = call.field("do")
    try:
        if wanted == "ping":
            await perform(call, test_webhook_endpoint, path, {}, once)
            return redirect("/settings?did=pinged#hooks")
        if wanted == "rotate":
            secret = (await perform(call, rotate_webhook_secret, path, {}, once)).get("secret")
            made = "Copy this signing secret now. The old one signs beside it for 24 hours"
            return await _page(call, secret=Secret(made if secret else "This secret was made before", secret))
        if wanted == "delete":
            await perform(call, delete_webhook_endpoint, path, {}, once)
            return redirect("/settings?did=endpoint_gone#hooks")
        status = "enabled" if wanted == "enable" else "disabled"
        await perform(call, update_webhook_endpoint, path, {"status": status}, once)
    except Problem as problem:
        return await _show_refusal(call, problem, "hooks")
    return redirect(f"/settings?did={'endpoint_on' if status == 'enabled' else 'endpoint_off'}#hooks")


@posts("/settings/deliveries/{delivery_id:str}/redeliver", scope=ADMIN, personal=True)
async def redeliver(call: PageCall) -> Response[Any]:
    """Send one delivery again."""
    once, path = checked_once(call.field(ONCE)), {"delivery_id": call.path("delivery_id")}
    await perform(call, retry_one_delivery, path, {}, once)
    return redirect("/settings?did=redelivered#hooks")


PAGES: Final[tuple[Page, ...]] = (
    show_settings, make_key, revoke_key, invite, make_link, change_person, end_one_session, change_device, add_endpoint,
    change_endpoint, redeliver,
)  # fmt: skip
