"""The simulator's own control path, `/_control/…`: no part of Stripe.

    GET    /_control/             a page for people: payments, refunds, and buttons for the moves
    GET    /_control/state        payments with refunds and disputes, totals, what happens next
    GET    /_control/faults       what is armed
    POST   /_control/faults       {"name": "drop_after", "share": 0.1, "seed": 7, "path": "/v1/refunds"} (or "count")
    DELETE /_control/faults       disarm all, or ?name=
    POST   /_control/moves        {"move": "fail", "id": "re_…", "reason": "expired_or_canceled_card"}
    GET    /_control/webhooks     endpoints and the mail that is still to be delivered
    POST   /_control/webhooks     {"url": "http://…", "secret": "…", "enabled_events": ["*"]}
    GET    /_control/stats        calls by endpoint, arrivals of POST /v1/refunds, replays
    POST   /_control/settings     {"settle_seconds": 0.2, "rate_limit": 25, "balance": "short_waits", …}

Bodies are JSON, or forms (from the page). What can't be done is answered 4xx with {"error": "in words"}.
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
from .dashboard import MOVES, Dashboard
from .faults import Arm, Faults
from .ledger import Ledger, Settings
from .page import CONTENT_POLICY, rendered
from .refunds import FREED, WrongMove
from .refusals import Refusal
from .shelf import Json

PREFIX = "/_control/"
BALANCES = ("enough", "short_waits", "short_refuses")


@dataclass
class Stats:
    """What the server has seen. Times are seconds since 1970, UTC."""

    calls: Counter[str] = field(default_factory=Counter)  # "POST /v1/refunds" -> calls
    statuses: Counter[str] = field(default_factory=Counter)  # "200" -> answers; "cut" -> connections
    refunds_asked_at: list[float] = field(default_factory=list)
    replays: int = 0

    def refunds_a_second(self) -> dict[int, int]:
        """Return how many calls of POST /v1/refunds arrived in each second."""
        return Counter(int(at) for at in self.refunds_asked_at)


@dataclass
class Control:
    """Answers requests to the control path. `changed` is called after whatever may have made something due."""

    ledger: Ledger
    faults: Faults
    stats: Stats
    changed: Callable[[], None]

    def answer(self, request: Request) -> Response:
        """Answer one request; nothing raises."""
        try:
            _same_origin(request.headers)
            return self._routed(request)
        except LookupError as error:
            return _json({"error": str(error.args[0] if error.args else error)}, 404)
        except Refusal as refusal:
            return _json({"error": refusal.message}, 409)
        except WrongMove as error:
            return _json({"error": str(error)}, 409)
        except (TypeError, ValueError) as error:
            return _json({"error": str(error)}, 400)
        finally:
            if request.method != "GET":
                self.changed()

    def _routed(self, request: Request) -> Response:
        name = request.path.removeprefix(PREFIX)
        routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", ""): self._page,
            ("GET", PREFIX.rstrip("/")): lambda _: _back(),
            ("GET", "state"): lambda _: _json(self.state()),
            ("GET", "faults"): lambda _: _json([_shown(arm) for arm in self.faults.arms]),
            ("POST", "faults"): self._arm,
            ("DELETE", "faults"): self._disarm,
            ("POST", "moves"): self._move,
            ("GET", "webhooks"): lambda _: _json(self.webhooks()),
            ("POST", "webhooks"): self._add_endpoint,
            ("GET", "stats"): lambda _: _json(vars(self.stats) | {"refunds_a_second": self.stats.refunds_a_second()}),
            ("GET", "settings"): lambda _: _json(asdict(self.ledger.settings)),
            ("POST", "settings"): self._set,
        }
        if (request.method, name) in routes:
            return routes[request.method, name](request)
        raise LookupError(f"no {request.method} {request.path} here")

    def state(self) -> Json:
        """Everything about payments (oldest first) and their refunds, with sums in minor units."""
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
                "captured_amount": sum(row["amount_captured"] for row in ledger.charges),
                "refunds": len(ledger.refunds),
                "refunded_amount": sum(row["amount_refunded"] for row in ledger.charges),
                "refunds_by_status": Counter(row["status"] for row in ledger.refunds),
                "events": len(ledger.events),
            },
            "next_moves": [{"at": move.at, "what": move.what, "id": move.name} for move in ledger.scheduled()],
            "unfinished": list(ledger.unfinished),
            "settings": asdict(ledger.settings),
        }

    def webhooks(self) -> Json:
        """The registered endpoints and the mail to come."""
        return {
            "endpoints": [endpoint.row for endpoint in self.ledger.endpoints.values()],
            "mailbox": [
                {
                    "event": mail.event["id"],
                    "type": mail.event["type"],
                    "endpoint": None if mail.endpoint is None else mail.endpoint.name,
                    "attempts": mail.attempts,
                    "next_attempt_at": mail.next_attempt_at,
                }
                for mail in self.ledger.mailbox
            ],
        }

    def _page(self, request: Request) -> Response:
        said = dict(parse_qsl(request.query)).get("said", "")
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": CONTENT_POLICY}
        return Response(200, headers, rendered(self.ledger, self.faults, said).encode())

    def _arm(self, request: Request) -> Response:
        return _json(_shown(self.faults.arm(**_fitting(self.faults.arm, _arguments(request)))), 201)

    def _disarm(self, request: Request) -> Response:
        for name in parse_qs(request.query).get("name", [None]):
            self.faults.disarm(name)
        return _json({})

    def _move(self, request: Request) -> Response:
        given = _arguments(request)
        from_page = _is_form(request)
        if from_page:
            given = {name: value for name, value in given.items() if value != ""}
            if "amount" in given:
                given["amount"] = int(given["amount"])
        try:
            move, name = given.pop("move"), given.pop("id", "")
        except KeyError:
            raise ValueError('say {"move": …, "id": …}') from None
        if not isinstance(move, str) or not isinstance(name, str):
            raise ValueError("move and id are texts")
        dashboard = Dashboard(self.ledger)
        try:
            if move in MOVES:
                _fitting(getattr(dashboard, move), given, name)
            row = dashboard.move(move, name, **given)
        except (LookupError, Refusal, WrongMove) as error:
            if not from_page:
                raise
            words = error.message if isinstance(error, Refusal) else str(error.args[0])
            return _back(words)
        return _back(f"{move}: done") if from_page else _json(row)

    def _add_endpoint(self, request: Request) -> Response:
        given = _arguments(request)
        url, secret, wanted = given.get("url"), given.get("secret"), given.get("enabled_events", ["*"])
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            raise ValueError('say {"url": "http://…", "secret": "…"}')
        if not isinstance(secret, str | None) or not isinstance(wanted, list):
            raise ValueError("secret is a text, enabled_events a list")
        endpoint = self.ledger.add_endpoint(url, secret, wanted)
        return _json({**endpoint.row, "secret": endpoint.secret}, 201)

    def _set(self, request: Request) -> Response:
        given, settings = _arguments(request), self.ledger.settings
        checked = {name: _setting(settings, name, value) for name, value in given.items()}
        for name, value in checked.items():
            if name == "balance" and value == "enough" and settings.balance != "enough":
                Dashboard(self.ledger).fill_balance()
            setattr(settings, name, value)
        return _json(asdict(settings))


def _setting(settings: Settings, name: str, value: Any) -> Any:
    """Return `value` if it fits the setting `name`."""
    if not hasattr(settings, name):
        raise ValueError(f"no setting {name!r}; there are: {', '.join(asdict(settings))}")
    old = getattr(settings, name)
    if name == "balance":
        fits = value in BALANCES
    elif name == "rate_limit":
        fits = value is None or (type(value) is int and value > 0)
    elif isinstance(old, bool):
        fits = isinstance(value, bool)
    else:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    if not fits:
        raise ValueError(f"{name} cannot be {value!r}")
    return value


def _shown(arm: Arm) -> Json:
    return {name: value for name, value in vars(arm).items() if name != "random"}


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def _arguments(request: Request) -> dict[str, Any]:
    if _is_form(request):
        return dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    given = json.loads(request.body or b"{}")
    if not isinstance(given, dict):
        raise ValueError("the body is no JSON object")
    return given


def _fitting(function: Callable[..., Any], given: dict[str, Any], *before: Any) -> dict[str, Any]:
    """Return `given` if `function` takes these names after the arguments `before`."""
    try:
        inspect.signature(function).bind(*before, **given)
    except TypeError as error:
        raise ValueError(f"the body does not fit: {error}") from None
    return given


def _same_origin(headers: Mapping[str, str]) -> None:
    """Refuse what another website made a browser send."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
        raise ValueError("this request comes from another website")


def _json(body: Any, status: int = 200) -> Response:
    text = json.dumps(body, ensure_ascii=False, indent=1)
    return Response(status, {"Content-Type": "application/json"}, text.encode())


def _back(said: str = "") -> Response:
    query = f"?{urlencode({'said': said})}" if said else ""
    return Response(303, {"Location": PREFIX + query}, b"")
