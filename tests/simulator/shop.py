"""A shop that calls the simulated Stripe without a network, on a clock that only moves when told."""

from __future__ import annotations

import base64
from random import Random
from typing import Any
from urllib.parse import urlencode

from returns_service.stripe_simulator import Dashboard, Ledger, Request, Response, Settings, answer

KEY = "sk_test_" + "simulator"
SECRET = "whsec_" + "simulator"
START = 1_800_000_000.0
DAY = 86400


class Shop:
    """Calls, clock and ledger. Amounts in minor units, times in seconds."""

    def __init__(self, **settings: Any) -> None:
        self.at = START
        self.ledger = Ledger(lambda: self.at, Random(7), settings=Settings(**settings))
        self.dashboard = Dashboard(self.ledger)

    def request(
        self,
        method: str,
        path: str,
        form: dict[str, Any] | str | None = None,
        key: str = "",
        auth: str = f"Bearer {KEY}",
        version: str = "",
    ) -> Request:
        """Return a request; `form` is a query for GET, a body for POST. `version` is its API version."""
        text = form if isinstance(form, str) else urlencode(form or {})
        headers = {"authorization": auth, "content-type": "application/x-www-form-urlencoded"}
        if key:
            headers["idempotency-key"] = key
        if version:
            headers["stripe-version"] = version
        query, body = (text, "") if method == "GET" else ("", text)
        return Request(method, path, query, headers, body.encode())

    def call(
        self, method: str, path: str, form: dict[str, Any] | str | None = None, key: str = "", version: str = ""
    ) -> Response:
        """Call and return the answer, whatever it is."""
        return answer(self.ledger, self.request(method, path, form, key, version=version))

    def get(self, path: str, form: dict[str, Any] | str | None = None, version: str = "") -> dict[str, Any]:
        """Read; must succeed."""
        response = self.call("GET", path, form, version=version)
        assert response.status == 200, response.body
        return response.json()

    def post(
        self, path: str, form: dict[str, Any] | str | None = None, key: str = "", version: str = ""
    ) -> dict[str, Any]:
        """Write; must succeed."""
        response = self.call("POST", path, form, key, version)
        assert response.status == 200, response.body
        return response.json()

    def refused(
        self,
        path: str,
        form: dict[str, Any] | str | None = None,
        *,
        method: str = "POST",
        status: int = 400,
        key: str = "",
    ) -> dict[str, Any]:
        """Call; must be refused with `status`. Returns the error."""
        response = self.call(method, path, form, key)
        assert response.status == status, response.body
        error: dict[str, Any] = response.json()["error"]
        return error

    def pay(self, amount: int = 5000, card: str = "pm_card_visa", **more: Any) -> dict[str, Any]:
        """Return a PaymentIntent, confirmed at once."""
        form = {"amount": amount, "currency": "usd", "payment_method": card, "confirm": "true"}
        return self.post("/v1/payment_intents", {**form, **more})

    def authorize(self, amount: int = 10_000, *requests: str, **more: Any) -> dict[str, Any]:
        """Return a PaymentIntent that is authorized, not captured. `requests`: `multicapture`, for example."""
        options = {f"payment_method_options[card][request_{name}]": "if_available" for name in requests}
        return self.pay(amount, capture_method="manual", **options, **more)

    def capture(self, intent: dict[str, Any], version: str = "", **form: Any) -> dict[str, Any]:
        """Capture `intent` by a call in the API version `version`."""
        return self.post(f"/v1/payment_intents/{intent['id']}/capture", form, version=version)

    def refund(self, intent: dict[str, Any], amount: int | None = None, key: str = "", **more: Any) -> dict[str, Any]:
        """Return a refund of `intent`."""
        form = {"payment_intent": intent["id"], **more}
        if amount is not None:
            form["amount"] = amount
        return self.post("/v1/refunds", form, key)

    def again(self, row: dict[str, Any]) -> dict[str, Any]:
        """Read `row` afresh."""
        return self.get(f"/v1/{row['object']}s/{row['id']}")

    def charge(self, intent: dict[str, Any]) -> dict[str, Any]:
        """Return the charge that paid `intent`."""
        return self.get(f"/v1/charges/{intent['latest_charge']}")

    def wait(self, seconds: float = 1.0) -> None:
        """Let time pass, and what it brings happen."""
        self.at += seconds
        self.ledger.make_due_moves()

    def event_types(self, since: int = 0) -> list[str]:
        """Return the types of all events from number `since` on, oldest first."""
        return [event["type"] for event in self.ledger.events][since:]

    def last_event(self, event_type: str) -> dict[str, Any]:
        """Return the newest event of `event_type`."""
        return next(event for event in self.ledger.events.newest_first() if event["type"] == event_type)


def basic(key: str) -> str:
    """Return the header value of HTTP Basic authentication with `key` as user."""
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()
