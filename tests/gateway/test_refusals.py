"""Every way Stripe can fail to say yes: a final no, nothing happened, or nobody knows."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from returns_service.domain.stripe_objects import Missing, RefundSnapshot, Refused, TryLater, Unknown
from tests.gateway.shapes import PARAMETERS, Line, error, ok, refund

Sent = RefundSnapshot | Refused | TryLater | Unknown
OVER = "Refund amount (€12.50) is greater than unrefunded amount on charge (€10.00)"
PAGE = "<html><body>Bad gateway, customer Ann</body></html>"


async def send(answer: Any, **settings: Any) -> Sent:
    line = Line(answer, **settings)
    seen = await line.gateway.create_refund(PARAMETERS, key="rfd_1:1", not_after=None)
    assert len(line.requests) == 1  # the SDK never repeats by itself
    await line.gateway.close()
    return seen


@pytest.mark.parametrize(
    "status,said,code,may_pass,reread",
    [
        (400, {"code": "charge_already_refunded"}, "charge_already_refunded", False, True),
        (400, {"param": "amount", "message": OVER}, "over_refund", False, True),
        (400, {"code": "amount_too_large", "param": "amount"}, "over_refund", False, True),
        (400, {"code": "charge_disputed"}, "charge_disputed", False, True),
        (400, {"code": "refund_disputed_payment"}, "refund_disputed_payment", False, True),
        (400, {"code": "charge_not_refundable"}, "charge_not_refundable", False, False),
        (400, {"code": "amount_too_small"}, "amount_too_small", False, False),
        (400, {"code": "parameter_invalid_integer", "param": "amount"}, "parameter_invalid_integer", False, False),
        (400, {"code": "livemode_mismatch"}, "livemode_mismatch", False, False),
        (400, {"code": "charge_expired_for_refund"}, "charge_expired_for_refund", False, False),
        (400, {"param": "amount", "message": "Invalid integer: x"}, "invalid_request_error", False, False),
        (400, {"message": OVER}, "invalid_request_error", False, False),
        (400, {"code": "balance_insufficient"}, "balance_insufficient", True, False),
        (400, {"code": "insufficient_funds"}, "insufficient_funds", True, False),
        (402, {"type": "card_error", "code": "card_declined"}, "card_declined", False, False),
        (402, {"type": "card_error", "code": "insufficient_funds"}, "insufficient_funds", True, False),
        (404, {"code": "resource_missing", "param": "payment_intent"}, "resource_missing", False, False),
        (404, {"code": None, "message": None, "type": 7}, "resource_missing", False, False),
    ],
)
async def test_a_final_no_is_refused(
    status: int, said: dict[str, Any], code: str, may_pass: bool, reread: bool
) -> None:
    seen = await send(error(status, **said))
    assert isinstance(seen, Refused)
    assert (seen.code, seen.may_pass, seen.reread) == (code, may_pass, reread)
    assert (seen.http_status, seen.request_id) == (status, "req_1")
    assert seen.message
    assert seen.advice.endswith(".")


@pytest.mark.parametrize(
    "status,said,headers,later",
    [
        (409, {"code": "idempotency_key_in_use"}, {}, TryLater("idempotency_key_in_use", "No.")),
        (
            409,
            {"type": "idempotency_error", "code": "idempotency_key_in_use"},
            {},
            TryLater("idempotency_key_in_use", "No."),
        ),
        (409, {}, {}, TryLater("conflict", "No.")),
        (409, {}, {"Stripe-Should-Retry": "false"}, TryLater("conflict", "No.", 60.0)),
        (429, {"code": "rate_limit"}, {}, TryLater("rate_limit", "No.", slow_down=True)),
        (429, {"code": "rate_limit"}, {"Retry-After": "7"}, TryLater("rate_limit", "No.", 7.0, slow_down=True)),
        (429, {"code": "rate_limit"}, {"Retry-After": "-7"}, TryLater("rate_limit", "No.", slow_down=True)),
        (429, {"code": "rate_limit"}, {"Retry-After": "nan"}, TryLater("rate_limit", "No.", slow_down=True)),
        (429, {"code": "rate_limit"}, {"Retry-After": "1e9"}, TryLater("rate_limit", "No.", 3600.0, slow_down=True)),
        (429, {}, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, TryLater("rate_limit", "No.", slow_down=True)),
        (429, {}, {"Stripe-Should-Retry": "false"}, TryLater("rate_limit", "No.", 60.0, slow_down=True)),
        (429, {}, {"Stripe-Rate-Limited-Reason": "endpoint-rate"}, TryLater("rate_limit", "No.", slow_down=True)),
        (429, {}, {"Stripe-Rate-Limited-Reason": "resource-specific"}, TryLater("rate_limit", "No.")),
        (429, {"code": "lock_timeout"}, {}, TryLater("lock_timeout", "No.")),
        (400, {"code": "rate_limit"}, {}, TryLater("rate_limit", "No.", slow_down=True)),
        (401, {}, {}, TryLater("authentication", "No.", everyone=True)),
        (401, {"code": "api_key_expired"}, {}, TryLater("api_key_expired", "No.", everyone=True)),
        (403, {}, {}, TryLater("permission", "No.", everyone=True)),
        (400, {"code": "odd"}, {"Stripe-Should-Retry": "true"}, TryLater("odd", "No.")),
    ],
)
async def test_what_wasnt_executed_is_tried_later(
    status: int, said: dict[str, Any], headers: dict[str, str], later: TryLater
) -> None:
    seen = await send(error(status, headers, **said))
    assert isinstance(seen, TryLater)
    assert seen.request_id == "req_1"
    assert (seen.code, seen.message, seen.after_seconds) == (later.code, later.message, later.after_seconds)
    assert (seen.everyone, seen.slow_down) == (later.everyone, later.slow_down)


async def test_a_stored_no_that_comes_back_stays_a_no_whatever_its_retry_header_says() -> None:
    headers = {"Stripe-Should-Retry": "true", "Idempotent-Replayed": "true"}
    assert isinstance(await send(error(400, headers, code="odd")), Refused)


@pytest.mark.parametrize(
    "answer,unknown",
    [
        (error(500, type="api_error"), Unknown("http_500", "No.", request_id="req_1")),
        (
            error(500, {"Idempotent-Replayed": "true"}, type="api_error"),
            Unknown("http_500", "No.", replayed=True, request_id="req_1"),
        ),
        (error(500, code="lock_timeout"), Unknown("lock_timeout", "No.", request_id="req_1")),
        (error(500, code="rate_limit"), Unknown("rate_limit", "No.", request_id="req_1")),
        (error(503, {"Retry-After": "9"}), Unknown("http_503", "No.", request_id="req_1", after_seconds=9.0)),
        (error(424, type="api_error"), Unknown("http_424", "No.", request_id="req_1")),
        (
            error(400, type="idempotency_error"),
            Unknown("idempotency_error", "No.", replayed=True, request_id="req_1"),
        ),
    ],
)
async def test_what_leaves_the_outcome_open_is_unknown(answer: httpx.Response, unknown: Unknown) -> None:
    assert await send(answer) == unknown


@pytest.mark.parametrize(
    "status,content,code",
    [
        (502, PAGE, "http_502"),
        (503, PAGE, "http_503"),
        (504, "", "http_504"),
        (500, '{"message": "no error object"}', "http_500"),
        (500, '{"error": "a word"}', "http_500"),
        (500, '{"error": "invalid_request"}', "http_500"),
        (500, '{"error": null}', "http_500"),
        (500, "[]", "http_500"),
        (400, PAGE, "http_400"),
        (402, "{}", "http_402"),
        (403, PAGE, "http_403"),
        (429, PAGE, "http_429"),
        (302, "", "http_302"),
        (200, PAGE, "unreadable_answer"),
        (200, "", "unreadable_answer"),
        (200, '{"id": "re_1", "object": "ref', "unreadable_answer"),
        (200, "[]", "unreadable_answer"),
        (200, '"re_1"', "unreadable_answer"),
        (200, "null", "unreadable_answer"),
        (200, "{}", "unreadable_answer"),
        (200, '{"object": "list", "data": [], "has_more": false, "url": "/v1/refunds"}', "unreadable_answer"),
        (200, b"\xff\xfe", "unreadable_answer"),
        (204, "", "unreadable_answer"),
    ],
)
async def test_an_answer_that_cant_be_read_is_unknown(status: int, content: str | bytes, code: str) -> None:
    headers = {"Request-Id": "req_1", "Idempotent-Replayed": "true"}
    seen = await send(httpx.Response(status, content=content, headers=headers))
    assert isinstance(seen, Unknown)
    assert (seen.code, seen.request_id, seen.replayed) == (code, "req_1", True)
    assert "Ann" not in seen.message  # a page isn't quoted: it may hold anything


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 1249},
        {"payment_intent": "pi_2"},
        {"payment_intent": None},
        {"metadata": {"refund_id": "rfd_2"}},
        {"metadata": {}},
    ],
)
async def test_a_refund_that_wasnt_asked_for_is_never_believed(change: dict[str, Any]) -> None:
    seen = await send(ok(refund(**change)))
    assert isinstance(seen, Unknown)
    assert seen.code == "other_refund"


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.PoolTimeout("busy"),
        httpx.ProxyError("407"),
        httpx.UnsupportedProtocol("ftp"),
    ],
)
async def test_without_a_connection_nothing_was_sent_and_all_pause(trouble: Exception) -> None:
    seen = await send(trouble)
    assert isinstance(seen, TryLater)
    assert (seen.code, seen.everyone) == ("no_connection", True)


@pytest.mark.parametrize(
    "trouble,code",
    [
        (httpx.ReadTimeout("silence"), "timeout"),
        (httpx.WriteTimeout("stuck"), "timeout"),
        (httpx.ReadError("reset"), "no_answer"),
        (httpx.WriteError("broken pipe"), "no_answer"),
        (httpx.RemoteProtocolError("Server disconnected"), "no_answer"),
        (ConnectionResetError(104, "reset"), "no_answer"),
        (RuntimeError("nobody expects this"), "no_answer"),
    ],
)
async def test_a_cut_line_leaves_the_outcome_unknown(trouble: Exception, code: str) -> None:
    seen = await send(trouble)
    assert isinstance(seen, Unknown)
    assert seen.code == code


async def test_a_silent_stripe_is_unknown_after_the_timeout() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    seen = await send(never, timeout_seconds=0.05)
    assert isinstance(seen, Unknown)
    assert seen.code == "timeout"


async def test_cancellation_goes_through() -> None:
    asked = asyncio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.sleep(3600)
        raise AssertionError

    task = asyncio.create_task(send(never))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "answer,expected",
    [
        (error(404, code="resource_missing"), Missing("No.")),
        (error(404), Missing("No.")),  # A10: another server that stands in for Stripe names no code
        (error(400, code="parameter_invalid"), Unknown("parameter_invalid", "No.", request_id="req_1")),
        (ok(refund(id="re_2")), Unknown("other_refund", "Stripe answered with another refund, re_2")),
        (
            error(401),
            TryLater("authentication", "No.", everyone=True, refuses_us=True, key_refused=True, request_id="req_1"),
        ),
        (httpx.ReadTimeout("silence"), Unknown("timeout", "Stripe didn't answer in time")),
    ],
)
async def test_a_read_of_a_refund_says_missing_or_silent(answer: Any, expected: object) -> None:
    line = Line(answer)
    assert await line.gateway.retrieve_refund("re_1") == expected


async def test_a_cancellation_is_refused_in_stripes_words() -> None:
    line = Line(error(400, message="This refund can't be canceled."))
    seen = await line.gateway.cancel_refund("re_1", key="rfd_1:cancel")
    assert isinstance(seen, Refused)
    assert seen.message == "This refund can't be canceled."
    assert line.requests[0].url.path == "/v1/refunds/re_1/cancel"
    assert line.requests[0].headers["Idempotency-Key"] == "rfd_1:cancel"


async def test_a_long_or_broken_message_becomes_one_that_can_be_stored() -> None:
    said = json.dumps({"error": {"code": "odd", "message": "\ud800\0" + "x" * 5000}})
    seen = await send(httpx.Response(400, content=said))
    assert isinstance(seen, Refused)
    assert len(seen.message) == 500
    assert seen.message.startswith("\ufffd\ufffdx")
