"""What a webhook must be to be believed, and what becomes of one that is genuine but odd."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.stripe_objects import ChargeSnapshot, DisputeSnapshot, RefundSnapshot
from returns_service.stripe_gateway import InvalidSignature, event_data_from_payload, read_webhook
from tests.gateway.shapes import CREATED, body, charge, dispute, event, refund

SECRET = "whsec_" + "a"
OTHER = "whsec_" + "b"
NOW = float(CREATED)


def signed(payload: bytes, secret: str = SECRET, at: int = CREATED) -> str:
    return str(stripe.WebhookSignature.generate_signature_header(payload.decode(), secret, at))


def test_a_genuine_webhook_is_news() -> None:
    payload = body(event("refund.failed", refund(status="failed"), account="acct_2", livemode=True))
    news = read_webhook(payload, signed(payload), [SECRET], now=NOW)
    assert (news.id, news.type, news.livemode, news.account) == ("evt_1", "refund.failed", True, "acct_2")
    assert news.created == datetime.fromtimestamp(CREATED, UTC)
    assert isinstance(news.object, RefundSnapshot)
    assert news.object.status == "failed"
    assert (news.raw, news.unreadable) == (payload.decode(), None)
    assert event_data_from_payload(news.raw) == news


@pytest.mark.parametrize("secrets", [[SECRET, OTHER], [OTHER, SECRET], ["", SECRET]])
def test_any_of_several_secrets_will_do(secrets: list[str]) -> None:
    payload = body(event())
    assert read_webhook(payload, signed(payload), secrets, now=NOW).id == "evt_1"


def test_stripes_two_signatures_while_a_secret_rolls_are_understood() -> None:
    payload = body(event())
    both = signed(payload, OTHER) + "," + signed(payload).split(",")[1] + ",v0=ignored"
    assert read_webhook(payload, both, [SECRET], now=NOW).id == "evt_1"


def refused(payload: bytes, signature: str | None, secrets: list[str], **settings: Any) -> str:
    with pytest.raises(InvalidSignature) as refusal:
        read_webhook(payload, signature, secrets, now=settings.pop("now", NOW), **settings)
    return refusal.value.reason


GOOD = body(event())


@pytest.mark.parametrize(
    "payload,signature,secrets,reason",
    [
        (GOOD, None, [SECRET], "no Stripe-Signature"),
        (GOOD, "", [SECRET], "no Stripe-Signature"),
        (GOOD, "nonsense", [SECRET], "No signature fits"),
        (GOOD, "t=,v1=", [SECRET], "No signature fits"),
        (GOOD, f"t={CREATED}", [SECRET], "No signature fits"),
        (GOOD, f"t={CREATED},v1=é", [SECRET], "No signature fits"),
        (GOOD, f"t={'9' * 5000},v1=00", [SECRET], "No signature fits"),
        (GOOD, signed(GOOD).replace("v1", "v0"), [SECRET], "No signature fits"),
        (GOOD, signed(GOOD, OTHER), [SECRET], "No signature fits"),
        (GOOD, signed(GOOD), [OTHER], "No signature fits"),
        (GOOD, signed(GOOD), [], "No signature fits"),
        (GOOD, signed(GOOD), [""], "No signature fits"),
        (GOOD, signed(GOOD, at=CREATED - 9).replace(str(CREATED - 9), str(CREATED)), [SECRET], "No signature fits"),
        (GOOD.replace(b"1250", b"9950"), signed(GOOD), [SECRET], "No signature fits"),
        (GOOD + b" ", signed(GOOD), [SECRET], "No signature fits"),
        (b"\xff" + GOOD, signed(GOOD), [SECRET], "No signature fits"),
        (GOOD, signed(GOOD, at=CREATED - 301), [SECRET], "older than 300 seconds"),
        (GOOD, signed(GOOD, OTHER, at=CREATED - 301), [SECRET, OTHER], "older than 300 seconds"),
        (b" " * (256 * 1024) + GOOD, signed(b" " * (256 * 1024) + GOOD), [SECRET], "longer than"),
    ],
)
def test_a_webhook_that_isnt_stripes_is_refused(
    payload: bytes, signature: str | None, secrets: list[str], reason: str
) -> None:
    assert reason in refused(payload, signature, secrets)


def test_age_is_counted_on_the_given_clock() -> None:
    assert read_webhook(GOOD, signed(GOOD, at=CREATED - 300), [SECRET], now=NOW).id == "evt_1"
    assert read_webhook(GOOD, signed(GOOD, at=CREATED + 900), [SECRET], now=NOW).id == "evt_1"  # as in the SDK
    assert "older than 10 seconds" in refused(GOOD, signed(GOOD), [SECRET], now=NOW + 11, tolerance_seconds=10)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"7",
        b'{"id": 7}',
        b'{"id": ""}',
        b'{"id": "evt_\\u0000"}',
        b'{"id": "evt_1", "created": NaN}',
        b'{"id": "evt_1", "created": 1e999}',
        b'{"id": "evt_1", "created": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(payload: bytes) -> None:
    assert "it is no event" in refused(payload, signed(payload), [SECRET])


def test_no_body_is_parsed_before_its_signature_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(json, "loads", parse)
    assert "No signature fits" in refused(GOOD, signed(GOOD, OTHER), [SECRET])


@pytest.mark.parametrize("kind", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"])
def test_refund_events_hold_refunds(kind: str) -> None:
    assert isinstance(event_data_from_payload(json.dumps(event(kind))).object, RefundSnapshot)


def test_a_refunded_charge_comes_without_its_refunds() -> None:
    seen = event_data_from_payload(json.dumps(event("charge.refunded", charge()))).object
    assert seen == ChargeSnapshot("ch_1", "pi_1", "eur", captured=5000, amount_refunded=1250)


@pytest.mark.parametrize(
    "change,barred",
    [
        ({}, True),
        ({"status": "won"}, False),
        ({"status": "warning_needs_response", "is_charge_refundable": True}, False),
        ({"is_charge_refundable": None}, True),
        ({"charge": charge(), "payment_intent": None}, True),
    ],
)
def test_disputes_tell_whether_they_bar(change: dict[str, Any], barred: bool) -> None:
    seen = event_data_from_payload(json.dumps(event("charge.dispute.created", dispute(**change)))).object
    assert isinstance(seen, DisputeSnapshot)
    assert (seen.bars_refunds, seen.charge) == (barred, "ch_1")


@pytest.mark.parametrize(
    "change,until",
    [
        ({}, datetime.fromtimestamp(CREATED + 9 * 86_400, UTC)),
        ({"status": "warning_needs_response"}, datetime.fromtimestamp(CREATED + 9 * 86_400, UTC)),
        ({"status": "under_review"}, None),
        ({"status": "lost"}, None),
        ({"evidence_details": {"due_by": None}}, None),
        ({"evidence_details": None}, None),
    ],
)
def test_disputes_tell_until_when_they_wait_for_an_answer(change: dict[str, Any], until: datetime | None) -> None:
    seen = event_data_from_payload(json.dumps(event("charge.dispute.updated", dispute(**change)))).object
    assert isinstance(seen, DisputeSnapshot)
    assert seen.answer_by == until


@pytest.mark.parametrize("kind", ["payment_intent.succeeded", "charge.succeeded", "charge.expired", "brand.new"])
def test_other_events_are_kept_and_say_nothing(kind: str) -> None:
    news = event_data_from_payload(json.dumps(event(kind, {"anything": "goes"})))
    assert (news.object, news.unreadable) == (None, None)


def test_a_thin_event_is_kept() -> None:
    thin = {
        "id": "evt_2",
        "object": "v2.core.event",
        "type": "refund.updated",
        "created": "2026-11-02T10:00:00.123Z",
        "livemode": True,
        "context": "acct_2",
        "related_object": {"id": "re_1", "type": "refund", "url": "/v1/refunds/re_1"},
    }
    news = event_data_from_payload(json.dumps(thin))
    assert (news.object, news.unreadable, news.account) == (None, None, "acct_2")
    assert news.created == datetime(2026, 11, 2, 10, 0, 0, 123000, UTC)


@pytest.mark.parametrize(
    "odd,why",
    [
        (event(thing="re_1"), "no refund where one was expected"),
        (event(thing={}), "`object` isn't refund"),
        (event(thing=charge()), "`object` isn't refund"),
        (event(thing=refund(amount="1250")), "`amount` is no amount"),
        (event(thing=refund(id="re_\0")), "`id` is no text"),
        (event(thing=refund(charge="\ud800")), "`charge` is no text"),
        (event(data=None), "no refund where one was expected"),
        (event(data=[]), "no refund where one was expected"),
        (event("charge.dispute.created", dispute(charge=None)), "dispute names no charge"),
        (event("charge.refunded", charge(amount_refunded=None)), "`amount_refunded` is no amount"),
        (event(created="yesterday"), "`created` is no time"),
        (event(created="0001-01-01T00:00:00+14:00"), "`created` is no time"),
        (event(created=-(10**20)), "`created` is no time"),
        (event(livemode="no"), "event doesn't say whether it is live"),
    ],
)
def test_a_genuine_event_we_dont_understand_is_kept_with_the_reason(odd: dict[str, Any], why: str) -> None:
    payload = body(odd)
    news = read_webhook(payload, signed(payload), [SECRET], now=NOW)
    assert (news.id, news.object, news.unreadable) == ("evt_1", None, why)
    assert news.raw == payload.decode()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(["refund.updated", "charge.refund.updated", "charge.refunded", "charge.dispute.created"])


def mutated(make: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(sorted(make())), ANYTHING, max_size=4).map(lambda odd: make() | odd)


@given(KINDS, ANYTHING | mutated(refund) | mutated(charge) | mutated(dispute))
def test_no_object_in_a_genuine_event_raises(kind: str, thing: Any) -> None:
    news = event_data_from_payload(json.dumps(event(kind, data={"object": thing})))
    assert (news.object is None) is (news.unreadable is not None)


@given(mutated(event))
def test_no_genuine_event_raises_while_it_has_an_id(odd: dict[str, Any]) -> None:
    payload = json.dumps(odd | {"id": "evt_1"})
    assert event_data_from_payload(payload).raw == payload


@given(st.binary(), st.text())
def test_a_stranger_is_refused_whatever_he_sends(payload: bytes, signature: str) -> None:
    with pytest.raises(InvalidSignature):
        read_webhook(payload, signature, [SECRET], now=NOW)
