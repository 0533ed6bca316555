"""The simulator's own path: state, faults, moves, settings, and the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from random import Random
from typing import Any

import pytest

from returns_service.stripe_simulator import Fault, Faults, Request, Response, answer, answer_with_fault, create_app
from tests.simulator.shop import SECRET, Shop


class Desk:
    """A shop and the control path of its simulator, without a network."""

    def __init__(self) -> None:
        self.shop = Shop()
        self.faults = Faults(Random(1))
        self.app = create_app(self.shop.ledger, self.faults)

    def call(self, method: str, name: str, body: Any = None, query: str = "", **headers: str) -> Response:
        """Call `/_control/<name>` with a JSON body, or a form if it is a string."""
        kind = "application/x-www-form-urlencoded" if isinstance(body, str) else "application/json"
        raw = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        sent = {"content-type": kind, "host": "localhost:12111", **headers}
        return self.app.control.answer(Request(method, f"/_control/{name}", query, sent, raw))

    def refused(self, method: str, name: str, body: Any = None) -> str:
        """Call; must be refused. Returns the words."""
        response = self.call(method, name, body)
        assert 400 <= response.status < 500, response.body
        return str(response.json()["error"])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_state_shows_payments_their_refunds_and_sums(desk: Desk) -> None:
    intent = desk.shop.pay(5000, "pm_card_pendingRefund")
    desk.shop.refund(intent, 1200)
    desk.shop.dashboard.open_inquiry(intent["id"])
    state = desk.call("GET", "state").json()
    (payment,) = state["payments"]
    assert (payment["id"], payment["refunded_amount"]) == (intent["id"], 1200)
    assert (len(payment["refunds"]), len(payment["disputes"])) == (1, 1)
    assert state["totals"]["refunds_by_status"] == {"pending": 1}
    assert (state["totals"]["captured_amount"], state["totals"]["refunded_amount"]) == (5000, 1200)
    assert [move["what"] for move in state["next_moves"]] == ["refund settles"]


def test_faults_are_armed_shown_and_disarmed(desk: Desk) -> None:
    armed = desk.call("POST", "faults", {"name": "drop_after", "share": 0.1, "seed": 7, "path": "/v1/refunds"})
    assert (armed.status, armed.json()["share"]) == (201, 0.1)
    desk.call("POST", "faults", {"name": "lose", "count": 1})
    shown = json.loads(desk.call("GET", "faults").body)
    assert [arm["name"] for arm in shown] == ["drop_after", "lose"]
    desk.call("DELETE", "faults", query="name=lose")
    assert [arm.name for arm in desk.faults.armed_faults] == ["drop_after"]
    desk.call("DELETE", "faults")
    assert desk.faults.armed_faults == []


def test_a_body_that_does_not_fit_is_told_what_there_is(desk: Desk) -> None:
    """Whoever arms a fault by hand has the answer alone to learn from."""
    assert desk.refused("POST", "faults", {"kind": "timeout"}).endswith(
        "it takes: name, count, share, seed, method, path, event_type, seconds"
    )
    intent = desk.shop.pay()
    assert "it takes: amount" in desk.refused("POST", "moves", {"move": "refund", "id": intent["id"], "sum": 1})


def test_moves_are_made_by_name(desk: Desk) -> None:
    intent = desk.shop.pay()
    made = desk.call("POST", "moves", {"move": "refund", "id": intent["id"], "amount": 100}).json()
    failed = desk.call("POST", "moves", {"move": "fail", "id": made["id"], "reason": "declined"}).json()
    assert (failed["status"], failed["failure_reason"]) == ("failed", "declined")


def test_settings_change_while_running(desk: Desk) -> None:
    changed = desk.call("POST", "settings", {"settle_seconds": 9, "rate_limit": 25, "lock_timeouts": True}).json()
    assert (changed["settle_seconds"], changed["rate_limit"], changed["lock_timeouts"]) == (9, 25, True)
    assert desk.call("GET", "settings").json() == changed
    desk.call("POST", "settings", {"balance": "short_waits", "rate_limit": None})
    refund = desk.shop.refund(desk.shop.pay(), 100)
    desk.call("POST", "settings", {"balance": "enough"})
    desk.shop.wait(9)
    assert desk.shop.again(refund)["status"] == "succeeded"


def test_webhook_endpoints_and_mail_are_shown(desk: Desk) -> None:
    added = desk.call("POST", "webhooks", {"url": "http://127.0.0.1:9/", "secret": SECRET})
    assert (added.status, added.json()["secret"]) == (201, SECRET)
    desk.shop.pay()
    shown = desk.call("GET", "webhooks").json()
    assert [endpoint["url"] for endpoint in shown["endpoints"]] == ["http://127.0.0.1:9/"]
    assert [webhook["type"] for webhook in shown["mailbox"]] == desk.shop.event_types()
    assert SECRET not in json.dumps(shown)


async def test_the_numbers_count_calls_replays_and_arrivals(desk: Desk) -> None:
    intent = desk.shop.pay()
    request = desk.shop.request("POST", "/v1/refunds", {"payment_intent": intent["id"], "amount": 1}, "k1")
    for _ in range(2):
        await desk.app.respond(request)
    await desk.app.respond(desk.shop.request("GET", f"/v1/payment_intents/{intent['id']}"))
    stats = desk.call("GET", "stats").json()
    assert stats["calls"] == {"POST /v1/refunds": 2, "GET /v1/payment_intents/{id}": 1}
    assert stats["refunds_asked_at"] == [desk.shop.at] * 2
    assert stats["refunds_a_second"] == {str(int(desk.shop.at)): 2}
    assert (stats["replays"], stats["statuses"]) == (1, {"200": 3})


@pytest.mark.parametrize(
    "method, name, body, words",
    [
        ("GET", "nothing", None, "nothing"),
        ("POST", "faults", {"name": "rain"}, "rain"),
        ("POST", "faults", {"name": "500", "colour": "red"}, "colour"),
        ("POST", "faults", {"name": "500", "share": 2}, "share"),
        ("POST", "faults", "{", "name"),
        ("POST", "faults", {"name": "500", "path": 5}, "path"),
        ("POST", "moves", {"move": "settle", "id": 5}, "id"),
        ("POST", "moves", {"move": "settle", "id": "re_0", "colour": "red"}, "colour"),
        ("POST", "webhooks", {"url": "http://127.0.0.1/", "enabled_events": "*"}, "enabled_events"),
        ("POST", "faults", [], "object"),
        ("POST", "moves", {"id": "re_0"}, "move"),
        ("POST", "moves", {"move": "settle", "id": "re_0"}, "re_0"),
        ("POST", "moves", {"move": "dance", "id": "re_0"}, "dance"),
        ("POST", "settings", {"colour": "red"}, "colour"),
        ("POST", "settings", {"settle_seconds": -1}, "settle_seconds"),
        ("POST", "settings", {"settle_seconds": "soon"}, "settle_seconds"),
        ("POST", "settings", {"rate_limit": 0}, "rate_limit"),
        ("POST", "settings", {"balance": "rich"}, "balance"),
        ("POST", "settings", {"lock_timeouts": 1}, "lock_timeouts"),
        ("POST", "webhooks", {"url": "ftp://shop.test/"}, "url"),
    ],
)
def test_nonsense_is_refused_in_words(desk: Desk, method: str, name: str, body: Any, words: str) -> None:
    assert words in desk.refused(method, name, body)


def test_what_stripe_would_not_do_is_a_409(desk: Desk) -> None:
    intent = desk.shop.pay()
    refund = desk.shop.refund(intent)
    assert desk.call("POST", "moves", {"move": "cancel", "id": refund["id"]}).status == 409
    assert desk.call("POST", "moves", {"move": "refund", "id": intent["id"]}).status == 409


def test_another_website_cannot_push_a_move(desk: Desk) -> None:
    refund = desk.shop.refund(desk.shop.pay(), 100)
    form = f"move=fail&id={refund['id']}"
    assert desk.call("POST", "moves", form, origin="https://evil.example").status == 400
    assert desk.shop.again(refund)["status"] == "succeeded"
    assert desk.call("POST", "moves", form, origin="http://localhost:12111").status == 303
    assert desk.shop.again(refund)["status"] == "failed"


def test_the_page_offers_the_moves_and_says_what_came_of_them(desk: Desk) -> None:
    intent = desk.shop.pay(5000)
    refund = desk.shop.refund(intent, 1200)
    page = desk.call("GET", "")
    text = page.body.decode()
    assert "$50.00" in text
    assert "succeeded, $12.00 refunded" in text
    assert f'value="{refund["id"]}"' in text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    back = desk.call("POST", "moves", f"move=refund&id={intent['id']}&amount=9999")
    assert back.status == 303
    said = desk.call("GET", "", query=back.headers["Location"].partition("?")[2]).body.decode()
    assert "is greater than unrefunded amount" in said
    desk.call("POST", "moves", f"move=refund&id={intent['id']}&amount=")
    assert desk.shop.charge(intent)["amount_refunded"] == 5000


def test_the_page_may_use_its_own_style_and_nothing_else(desk: Desk) -> None:
    page = desk.call("GET", "")
    style = page.body.decode().partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"(src|href|style)=", page.body.decode())


def test_the_page_escapes_whatever_it_shows(desk: Desk) -> None:
    mark = "<script>alert(1)</script>"
    desk.shop.pay(5000, **{f"metadata[{mark}]": mark})
    text = desk.call("GET", "", query="said=%3Cscript%3E").body.decode()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 3


def test_a_stored_500_can_be_repaired_from_the_page(desk: Desk) -> None:
    intent = desk.shop.pay()
    request = desk.shop.request("POST", "/v1/refunds", {"payment_intent": intent["id"]}, "k1")
    answer_with_fault(desk.shop.ledger, request, Fault("stored_500"))
    assert "k1" in desk.call("GET", "").body.decode()
    assert desk.call("GET", "state").json()["unfinished"] == ["k1"]
    desk.call("POST", "moves", "move=repair&id=k1")
    assert desk.shop.charge(intent)["amount_refunded"] == 5000


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:12111", "127.9.8.7", "[::1]:12111", "sim.localhost", "LOCALHOST."]
)
def test_the_control_path_answers_under_this_machines_names(desk: Desk, host: str) -> None:
    assert desk.call("GET", "state", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::ffff:10.0.0.1]", "", "localhost@evil.example", "["],
)
@pytest.mark.parametrize("name", ["", "state", "moves"])
def test_the_control_path_refuses_a_foreign_host(desk: Desk, host: str, name: str) -> None:
    method = "POST" if name == "moves" else "GET"
    response = desk.call(method, name, None, host=host, origin=f"http://{host}")
    assert (response.status, "error" in response.json()) == (403, True)


def test_the_operator_may_name_further_hosts(desk: Desk) -> None:
    desk.app = create_app(desk.shop.ledger, desk.faults, hosts=["stripe.test"])
    assert desk.call("GET", "state", host="stripe.test:12111").status == 200
    assert desk.call("GET", "state", host="other.test:12111").status == 403


def test_webhooks_lead_to_this_machine_unless_told_otherwise(desk: Desk) -> None:
    for url in ("http://169.254.169.254/", "http://2130706433/", "http://shop.test/", "http://localhost.evil.example/"):
        assert "foreign_webhooks" in desk.refused("POST", "webhooks", {"url": url})
    desk.call("POST", "settings", {"foreign_webhooks": True})
    assert desk.call("POST", "webhooks", {"url": "http://shop.test/"}).status == 201


@pytest.mark.parametrize("body", ["[" * 100_000, '{"name":' * 100_000, '{"a":' * 20 + "1" + "}" * 20])
def test_a_body_nested_too_deep_is_a_400(desk: Desk, body: str) -> None:
    raw = Request("POST", "/_control/faults", "", {"host": "localhost"}, body.encode())
    response = desk.app.control.answer(raw)
    assert (response.status, "nested" in response.json()["error"]) == (400, True)


def test_a_key_is_limited_and_shown_without_its_secret(desk: Desk) -> None:
    secret = "rk_test_" + "limited1234567890"
    made = desk.call("POST", "keys", {"key": secret, "permissions": ["rak_charge_read"]})
    assert (made.status, made.json()["permissions"]) == (201, ["rak_charge_read"])
    request = desk.shop.request("GET", "/v1/disputes", auth=f"Bearer {secret}")
    assert "rak_dispute_read" in answer(desk.shop.ledger, request).json()["error"]["message"]
    desk.call("POST", "keys", {"key": secret, "status": "expired"})
    assert answer(desk.shop.ledger, request).json()["error"]["code"] == "api_key_expired"
    shown = desk.call("GET", "keys")
    assert [key["status"] for key in shown.json()["keys"]] == ["expired"]
    assert "rak_balance_read" in shown.json()["permissions"]
    assert secret not in shown.body.decode()
    for body, words in [
        ({"key": 5}, "permissions"),
        ({"key": secret, "permissions": "all"}, "permissions"),
        ({"key": secret, "permissions": ["rak_dance"]}, "rak_dance"),
        ({"key": secret, "permissions": [["rak_charge_read"]]}, "texts"),
        ({"key": secret, "status": "asleep"}, "asleep"),
        ({"key": secret, "colour": "red"}, "say"),
    ]:
        assert words in desk.refused("POST", "keys", body)


def test_the_clock_may_be_skewed_and_the_accounts_version_set(desk: Desk) -> None:
    changed = desk.call("POST", "settings", {"clock_skew_seconds": -90.5, "api_version": "2024-06-20"}).json()
    assert (changed["clock_skew_seconds"], changed["api_version"]) == (-90.5, "2024-06-20")
    desk.shop.pay()
    assert desk.shop.last_event("charge.succeeded")["api_version"] == "2024-06-20"
    for name, value in [
        ("api_version", "newest"),
        ("api_version", 5),
        ("clock_skew_seconds", "much"),
        ("settle_seconds", -1),
    ]:
        assert desk.refused("POST", "settings", {name: value})


def test_an_endpoint_may_be_pinned(desk: Desk) -> None:
    body = {"url": "http://127.0.0.1:9/", "api_version": "2020-08-27"}
    assert desk.call("POST", "webhooks", body).json()["api_version"] == "2020-08-27"
    assert "version" in desk.refused("POST", "webhooks", {**body, "api_version": "newest"})


def test_the_page_captures_authenticates_and_overturns(desk: Desk) -> None:
    intent = desk.shop.authorize(5000)
    waiting = desk.shop.pay(900, "pm_card_threeDSecure2Required")
    assert "expire authorization" in desk.call("GET", "").body.decode()
    desk.call("POST", "moves", f"move=capture&id={intent['id']}&amount=3000")
    assert desk.shop.charge(intent)["amount_captured"] == 3000
    desk.call("POST", "moves", f"move=authenticate&id={waiting['id']}")
    assert desk.shop.again(waiting)["status"] == "succeeded"
    dispute = desk.shop.dashboard.open_dispute(intent["id"])
    desk.shop.dashboard.lose(dispute["id"])
    assert f"overturn {dispute['id']}" in desk.call("GET", "").body.decode()
