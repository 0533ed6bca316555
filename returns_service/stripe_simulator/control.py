"""The simulator's own control path, `/_control/…`; Stripe has nothing like it.

    GET    /_control/             a page for people: payments, refunds, and a button for each open move
    GET    /_control/state        payments with refunds and disputes, totals, the moves to come
    GET    /_control/faults       the armed faults
    POST   /_control/faults       {"name": "drop_after", "share": 0.1, "seed": 7, "path": "/v1/refunds"} (or "count")
    DELETE /_control/faults       disarm all, or ?name=
    POST   /_control/moves        {"move": "fail", "id": "re_…", "reason": "expired_or_canceled_card"}
    GET    /_control/webhooks     the endpoints and the webhooks not delivered yet
    POST   /_control/webhooks     {"url": "http://…", "secret": "…", "enabled_events": ["*"], "api_version": "…"}
    GET    /_control/keys         the API keys with limits (their secrets masked) and the names of all permissions
    POST   /_control/keys         {"key": "rk_test_…", "permissions": ["rak_charge_read", …], "status": "active"}
    GET    /_control/stats        calls by endpoint, arrivals of POST /v1/refunds, replays
    POST   /_control/settings     {"settle_seconds": 0.2, "rate_limit": 25, "balance": "short_waits", …}

Bodies are JSON, or forms (from the page). A wrong request gets a 4xx with {"error": "a sentence"}. Only requests whose
`Host` is this machine are answered, so that no website can reach the path through a name of its own (DNS rebinding).
Webhook URLs must lead to this machine unless the setting `foreign_webhooks` is on. A key's `permissions` may be null
(all), its `status` active, expired or unknown; `settings` has the clock's skew and the account's API version.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from .api import Request, Response
from .api_keys import PERMISSIONS, build_key, mask
from .collection import Json
from .dashboard import MOVES, Dashboard
from .faults import ArmedFault, Faults
from .ledger import Ledger
from .loopback import is_loopback_host, is_loopback_url, parse_host
from .page import CONTENT_POLICY, render_page
from .refunds import FREED, WrongMove
from .refusals import Refusal
from .settings import Settings
from .versions import check_version

PREFIX = "/_control/"
BALANCES = ("enough", "short_waits", "short_refuses")
MAX_DEPTH = 16  # of a JSON body
MAX_NUMBER = 10**9  # of a setting


@dataclass
class Stats:
    """Counts of the server's calls. Times are seconds since 1970 (UTC)."""

    calls: Counter[str] = field(default_factory=Counter)  # "POST /v1/refunds" -> calls
    statuses: Counter[str] = field(default_factory=Counter)  # "200" -> answers; "cut" -> connections
    refunds_asked_at: list[float] = field(default_factory=list)
    replays: int = 0

    def count_refunds_a_second(self) -> dict[int, int]:
        """Return how many calls of POST /v1/refunds arrived in each second."""
        return Counter(int(at) for at in self.refunds_asked_at)


@dataclass
class Control:
    """Answers requests to the control path. It calls `on_change` after each request that may make something due.

    `hosts`: names that a `Host` header may have beside those of this machine.
    """

    ledger: Ledger
    faults: Faults
    stats: Stats
    on_change: Callable[[], None]
    hosts: frozenset[str] = frozenset()

    def answer(self, request: Request) -> Response:
        """Answer one request. Never raises."""
        try:
            if not self._is_local(request):
                return _build_json({"error": "the control path answers only requests to this machine's own names"}, 403)
            _check_origin(request.headers)
            return self._route(request)
        except LookupError as error:
            return _build_json({"error": str(error.args[0] if error.args else error)}, 404)
        except Refusal as refusal:
            return _build_json({"error": refusal.message}, 409)
        except WrongMove as error:
            return _build_json({"error": str(error)}, 409)
        except (TypeError, ValueError) as error:
            return _build_json({"error": str(error)}, 400)
        finally:
            if request.method != "GET":
                self.on_change()

    def _is_local(self, request: Request) -> bool:
        host = parse_host(request.headers.get("host", ""))
        return is_loopback_host(host) or host in self.hosts

    def _route(self, request: Request) -> Response:
        name = request.path.removeprefix(PREFIX)
        routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", ""): self._show_page,
            ("GET", PREFIX.rstrip("/")): lambda _: _redirect(),
            ("GET", "state"): lambda _: _build_json(self.build_state()),
            ("GET", "faults"): lambda _: _build_json([_render_fault(fault) for fault in self.faults.armed_faults]),
            ("POST", "faults"): self._arm,
            ("DELETE", "faults"): self._disarm,
            ("POST", "moves"): self._move,
            ("GET", "webhooks"): lambda _: _build_json(self.build_webhooks()),
            ("POST", "webhooks"): self._add_endpoint,
            ("GET", "keys"): lambda _: _build_json(self.build_keys()),
            ("POST", "keys"): self._limit_key,
            ("GET", "stats"): self._show_stats,
            ("GET", "settings"): lambda _: _build_json(asdict(self.ledger.settings)),
            ("POST", "settings"): self._change_settings,
        }
        if (request.method, name) in routes:
            return routes[request.method, name](request)
        raise LookupError(f"no {request.method} {request.path} here")

    def build_state(self) -> Json:
        """Return all payments (oldest first) with their refunds and disputes, and sums in minor units."""
        ledger = self.ledger
        payments = []
        for intent in ledger.payment_intents:
            charges = ledger.charges_of.get(intent["id"], [])
            refunds = [ledger.refunds[name] for charge in charges for name in ledger.refunds_of.get(charge, [])]
            disputes = [ledger.disputes[name] for charge in charges for name in ledger.disputes_of.get(charge, [])]
            payments.append(
                {
                    **intent,
                    "refunded_amount": sum(row["amount"] for row in refunds if row["status"] not in FREED),
                    "refunds": refunds,
                    "disputes": disputes,
                }
            )
        return {
            "payments": payments,
            "totals": {
                "payments": len(ledger.payment_intents),
                "captured_amount": sum(row["amount_captured"] or 0 for row in ledger.charges),
                "refunds": len(ledger.refunds),
                "refunded_amount": sum(row["amount_refunded"] for row in ledger.charges),
                "refunds_by_status": Counter(row["status"] for row in ledger.refunds),
                "events": len(ledger.events),
            },
            "next_moves": [{"at": move.at, "what": move.what, "id": move.name} for move in ledger.list_moves()],
            "unfinished": list(ledger.unfinished),
            "settings": asdict(ledger.settings),
        }

    def build_webhooks(self) -> Json:
        """Return the registered endpoints and the webhooks not delivered yet."""
        return {
            "endpoints": [endpoint.row for endpoint in self.ledger.endpoints.values()],
            "mailbox": [
                {
                    "event": webhook.event["id"],
                    "type": webhook.event["type"],
                    "endpoint": None if webhook.endpoint is None else webhook.endpoint.name,
                    "attempts": webhook.attempts,
                    "next_attempt_at": webhook.next_attempt_at,
                }
                for webhook in self.ledger.outbox
            ],
        }

    def build_keys(self) -> Json:
        """Return the API keys that have limits, their secrets masked, and the names of all permissions."""
        keys = [
            {"key": mask(secret), "permissions": _sort(key.permissions), "status": key.status}
            for secret, key in self.ledger.api_keys.items()
        ]
        return {"keys": keys, "permissions": PERMISSIONS}

    def _limit_key(self, request: Request) -> Response:
        fields = _parse_body(request)
        secret, permissions = fields.pop("key", None), fields.pop("permissions", None)
        status = fields.pop("status", "active")
        if fields or not isinstance(secret, str) or not isinstance(permissions, list | None):
            raise ValueError('say {"key": "rk_test_…", "permissions": ["rak_charge_read", …], "status": "active"}')
        key = self.ledger.api_keys[secret] = build_key(permissions, status)
        return _build_json({"key": mask(secret), "permissions": _sort(key.permissions), "status": key.status}, 201)

    def _show_page(self, request: Request) -> Response:
        message = dict(parse_qsl(request.query)).get("said", "")
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": CONTENT_POLICY}
        return Response(200, headers, render_page(self.ledger, self.faults, message).encode())

    def _show_stats(self, request: Request) -> Response:
        return _build_json(vars(self.stats) | {"refunds_a_second": self.stats.count_refunds_a_second()})

    def _arm(self, request: Request) -> Response:
        fields = _check_fields(self.faults.arm, _parse_body(request))
        return _build_json(_render_fault(self.faults.arm(**fields)), 201)

    def _disarm(self, request: Request) -> Response:
        for name in parse_qs(request.query).get("name", [None]):
            self.faults.disarm(name)
        return _build_json({})

    def _move(self, request: Request) -> Response:
        fields = _parse_body(request)
        from_page = _is_form(request)
        if from_page:
            fields = {name: value for name, value in fields.items() if value != ""}
            if "amount" in fields:
                fields["amount"] = int(fields["amount"])
        try:
            move, name = fields.pop("move"), fields.pop("id", "")
        except KeyError:
            raise ValueError('say {"move": …, "id": …}') from None
        if not isinstance(move, str) or not isinstance(name, str):
            raise ValueError("move and id are texts")
        dashboard = Dashboard(self.ledger)
        try:
            if move in MOVES:
                _check_fields(getattr(dashboard, move), fields, name)
            row = dashboard.move(move, name, **fields)
        except (LookupError, Refusal, WrongMove) as error:
            if not from_page:
                raise
            message = error.message if isinstance(error, Refusal) else str(error.args[0])
            return _redirect(message)
        return _redirect(f"{move}: done") if from_page else _build_json(row)

    def _add_endpoint(self, request: Request) -> Response:
        fields = _parse_body(request)
        url, secret, event_types = fields.get("url"), fields.get("secret"), fields.get("enabled_events", ["*"])
        version = fields.get("api_version")
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            raise ValueError('say {"url": "http://…", "secret": "…"}')
        if not isinstance(secret, str | None) or not isinstance(event_types, list):
            raise ValueError("secret is a text, enabled_events a list")
        if not (self.ledger.settings.foreign_webhooks or is_loopback_url(url)):
            raise ValueError("the url leads to another machine; turn the setting foreign_webhooks on to allow that")
        if version is not None:
            _check_version(version)
        endpoint = self.ledger.add_endpoint(url, secret, event_types, api_version=version)
        return _build_json({**endpoint.row, "secret": endpoint.secret}, 201)

    def _change_settings(self, request: Request) -> Response:
        fields, settings = _parse_body(request), self.ledger.settings
        changes = {name: _check_setting(settings, name, value) for name, value in fields.items()}
        for name, value in changes.items():
            if name == "balance" and value == "enough" and settings.balance != "enough":
                Dashboard(self.ledger).fill_balance()
            setattr(settings, name, value)
        return _build_json(asdict(settings))


def _check_setting(settings: Settings, name: str, value: Any) -> Any:
    """Return `value` if it fits the setting `name`."""
    if not hasattr(settings, name):
        raise ValueError(f"no setting {name!r}; there are: {', '.join(asdict(settings))}")
    old = getattr(settings, name)
    if name == "balance":
        fits = value in BALANCES
    elif name == "api_version":
        fits = value == _check_version(value)
    elif name == "rate_limit":
        fits = value is None or (type(value) is int and value > 0)
    elif isinstance(old, bool):
        fits = isinstance(value, bool)
    else:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER
        fits = is_number and (value >= 0 or name == "clock_skew_seconds")
    if not fits:
        raise ValueError(f"{name} cannot be {value!r}")
    return value


def _render_fault(fault: ArmedFault) -> Json:
    return {name: value for name, value in vars(fault).items() if name != "random"}


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def _parse_body(request: Request) -> dict[str, Any]:
    if _is_form(request):
        return dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    try:
        fields = json.loads(request.body or b"{}")
    except RecursionError:
        raise ValueError("the body is nested too deep") from None
    if not isinstance(fields, dict):
        raise ValueError("the body is no JSON object")
    _check_depth(fields)
    return fields


def _check_depth(value: Any) -> None:
    """Refuse a JSON value that is nested deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [part for part in level if isinstance(part, dict | list)]
        level = [one for part in inner for one in (part.values() if isinstance(part, dict) else part)]
    if level:
        raise ValueError("the body is nested too deep")


def _check_version(version: Any) -> str:
    """Return an API version; raise ValueError for anything else."""
    try:
        return check_version(str(version))
    except Refusal as refusal:
        raise ValueError(refusal.message) from None


def _sort(permissions: frozenset[str] | None) -> list[str] | None:
    return None if permissions is None else sorted(permissions)


def _check_fields(function: Callable[..., Any], fields: dict[str, Any], *before: Any) -> dict[str, Any]:
    """Return `fields` if `function` takes arguments of these names after the arguments `before`."""
    shape = inspect.signature(function)
    try:
        shape.bind(*before, **fields)
    except TypeError as error:
        taken = ", ".join([*shape.parameters][len(before) :])
        raise ValueError(f"the body does not fit: {error}; it takes: {taken}") from None
    return fields


def _check_origin(headers: Mapping[str, str]) -> None:
    """Refuse a request that a browser sends on behalf of another website."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
        raise ValueError("this request comes from another website")


def _build_json(body: Any, status: int = 200) -> Response:
    text = json.dumps(body, ensure_ascii=False, indent=1)
    return Response(status, {"Content-Type": "application/json"}, text.encode())


def _redirect(message: str = "") -> Response:
    query = f"?{urlencode({'said': message})}" if message else ""
    return Response(303, {"Location": PREFIX + query}, b"")
