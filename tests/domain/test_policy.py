"""The policy: its file, its snapshot, and what it says about a return."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from returns_service.domain import policy as policies
from returns_service.domain.policy import (
    ACCEPTABLE,
    DEFAULT,
    Policy,
    PolicyError,
    Reason,
    Restocking,
    decide,
    from_dict,
    parse,
    to_dict,
)
from returns_service.domain.vocabulary import STRIPE_REASONS, WINDOW_FROM, WindowFrom

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXAMPLE = policies.example()

CURRENCIES = st.from_regex(r"[a-z]{3}", fullmatch=True)
AMOUNTS = st.dictionaries(CURRENCIES, st.integers(0, 10**12), max_size=3)
WORDS = st.text(min_size=1, max_size=12).filter(lambda s: s.strip() != "")
POLICIES = st.builds(
    Policy,
    window_days=st.integers(0, 36_500),
    window_from=st.sampled_from(WINDOW_FROM),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Los_Angeles"]),
    refund_on=st.sampled_from(["approval", "receipt", "manual"]),
    refund_delay=st.integers(0, 86_400),
    accepted_conditions=st.lists(st.sampled_from(ACCEPTABLE), unique=True).map(tuple),
    excluded_skus=st.lists(WORDS, unique=True, max_size=3).map(tuple),
    shipping_refunded=st.sampled_from(["never", "full_return", "always"]),
    auto_approve_below=AMOUNTS,
    second_person_above=AMOUNTS,
    label_cost=AMOUNTS,
    refund_rate_alert=st.floats(0, 1),
    restocking=st.dictionaries(st.sampled_from(ACCEPTABLE), st.builds(Restocking, st.integers(0, 10_000), AMOUNTS)),
    reasons=st.dictionaries(
        WORDS, st.builds(Reason, WORDS, st.sampled_from(STRIPE_REASONS), st.booleans()), max_size=3
    ),
)


def problems(text: str) -> list[str]:
    """Return what is said against this text, of which something must be."""
    with pytest.raises(PolicyError) as refused:
        parse(text, "policy.toml")
    assert str(refused.value) == "\n".join(refused.value.problems)
    return list(refused.value.problems)


# The file


def test_no_file_the_empty_file_and_the_example_say_the_same() -> None:
    assert parse("", "-") == parse(EXAMPLE, "-") == DEFAULT


def test_the_example_shows_every_setting() -> None:
    for name in to_dict(DEFAULT):
        assert re.search(rf"^\[?{name}\b", EXAMPLE, re.MULTILINE), name


def test_a_file_is_read() -> None:
    policy = parse(
        """
        window_days = 14
        refund_on = "manual"
        excluded_skus = ["GIFT-CARD*"]
        auto_approve_below = {usd = 5000}
        second_person_above.eur = 100_000
        refund_rate_alert = 1
        [label_cost]
        usd = 499
        [restocking.opened]
        basis_points = 1500
        fixed = {jpy = 100}
        [reasons.broken]
        label = "Broken"
        restocking = false
        """,
        "policy.toml",
    )
    assert policy == Policy(
        window_days=14,
        refund_on="manual",
        excluded_skus=("GIFT-CARD*",),
        auto_approve_below={"usd": 5000},
        second_person_above={"eur": 100_000},
        refund_rate_alert=1.0,
        label_cost={"usd": 499},
        restocking={"opened": Restocking(1500, {"jpy": 100})},
        reasons={"broken": Reason("Broken", restocking=False)},
    )


@pytest.mark.parametrize(
    "line, name, words",
    [
        ("window_day = 3", "window_day", "unknown setting, did you mean window_days?"),
        ("zzz = 3", "zzz", "unknown setting, the known ones are window_days, "),
        ("window_days = true", "window_days", "must be a whole number from 0 to 36500, not true"),
        ("window_days = 3.0", "window_days", "not 3.0"),
        ("window_days = -1", "window_days", "not -1"),
        ('window_days = "30"', "window_days", 'not "30"'),
        ("window_days = 0x" + "f" * 9000, "window_days", "not one so large"),
        ('refund_on = "delivery"', "refund_on", "must be one of approval, receipt, manual"),
        ("refund_on = 1", "refund_on", "not 1"),
        ("refund_delay = -5", "refund_delay", "must be a whole number"),
        ('accepted_conditions = "new"', "accepted_conditions", "must be an array"),
        ('accepted_conditions = ["new", "missing"]', "accepted_conditions[1]", "missing can't be accepted"),
        ('accepted_conditions = ["wrong_item"]', "accepted_conditions[0]", "wrong_item can't be accepted"),
        ('accepted_conditions = ["used"]', "accepted_conditions[0]", "must be one of new, opened, damaged"),
        ('accepted_conditions = ["new", "new"]', "accepted_conditions[1]", "stands there twice"),
        ("excluded_skus = [3]", "excluded_skus[0]", "must be words"),
        ('excluded_skus = [" "]', "excluded_skus[0]", "must be words"),
        ('shipping_refunded = "sometimes"', "shipping_refunded", "must be one of never, full_return, always"),
        ("auto_approve_below = 5000", "auto_approve_below", "must be a table, not 5000"),
        ("auto_approve_below = {USD = 1}", "auto_approve_below.USD", "did you mean usd?"),
        ("second_person_above = {dollar = 1}", "second_person_above.dollar", "three lowercase letters"),
        ("label_cost.usd = 4.99", "label_cost.usd", "must be a whole number"),
        ("label_cost.usd = false", "label_cost.usd", "not false"),
        ("refund_rate_alert = 1.01", "refund_rate_alert", "must be a number from 0 to 1"),
        ("refund_rate_alert = nan", "refund_rate_alert", "must be a number from 0 to 1"),
        ("refund_rate_alert = true", "refund_rate_alert", "not true"),
        ("restocking.opened.basis_point = 1", "restocking.opened.basis_point", "did you mean basis_points?"),
        ("restocking.opened.basis_points = 10001", "restocking.opened.basis_points", "from 0 to 10000"),
        ("restocking.opened.fixed.usd = -1", "restocking.opened.fixed.usd", "must be a whole number"),
        ("restocking.opend.basis_points = 1", "restocking.opend", "did you mean opened?"),
        ("restocking.missing = {}", "restocking.missing", "a fee is for one of new, opened, damaged"),
        ("restocking.opened = 5", "restocking.opened", "must be a table"),
        ("reasons.x = {}", "reasons.x.label", "missing"),
        ('reasons.x.label = ""', "reasons.x.label", "must be words"),
        ('reasons."".label = "X"', 'reasons.""', "a reason needs a name"),
        ('reasons.x = {label = "X", stripe = "other"}', "reasons.x.stripe", "must be one of requested_by_c"),
        ('reasons.x = {label = "X", restocking = 1}', "reasons.x.restocking", "must be true or false"),
        ('reasons.x = {label = "X", lable = "X"}', "reasons.x.lable", "did you mean label?"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(line: str, name: str, words: str) -> None:
    (problem,) = problems(f"# one\n\n{line}\n")
    assert problem.startswith(f"policy.toml:3: {name}: ")
    assert words in problem
    assert "\n" not in problem


def test_all_problems_are_told_in_the_files_order() -> None:
    text = 'window_days = -1\n[restocking.opened]\nbasis_points = "x"\nfix = 1\n[reasons.a]\n[reasons.b]\n'
    assert [p.split(": ")[0] for p in problems(text)] == [f"policy.toml:{n}" for n in (1, 3, 4, 5, 6)]


@pytest.mark.parametrize(
    "text, line",
    [("a = 1\nb = \nc = 3", 2), ("a = 1\na = 2", 2), ("\n\nx = [1,", 3), ('a = "', 1), ("[t\n", 1)],
)
def test_what_is_not_toml_is_refused_by_line(text: str, line: int) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"policy.toml:{line}: not TOML: ")


@pytest.mark.parametrize("text", ["a = " + "[" * 5000 + "]" * 5000, "a = " + "1" * 5000])
def test_what_python_cannot_read_is_refused(text: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith("policy.toml:1: not ")


@given(st.text(max_size=60) | st.lists(st.sampled_from([*"[]{}=.,'\"\n# a1", "label_cost", "usd"])).map("".join))
@example('"" = {"" = ""}')
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    told: tuple[str, ...] = ()
    try:
        parse(text, "policy.toml")
    except PolicyError as refused:
        told = refused.problems or ("nothing said",)
    assert [problem for problem in told if not re.match(r"policy\.toml:[1-9]\d*: ", problem)] == []


def typing_places() -> list[tuple[int, int]]:
    """Return line and column of each letter in the example that names a setting, not a reason."""
    places = []
    for number, line in enumerate(EXAMPLE.splitlines()):
        named = re.match(r"\[(restocking\.opened|reasons)\b|(\w+) =", line)
        if named and not line.startswith("#"):
            places += [(number, at) for at in range(named.start(), named.end()) if line[at].isalpha()]
    return places


@given(st.sampled_from(typing_places()), st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
def test_any_single_typo_in_the_example_is_reported_at_its_line(place: tuple[int, int], typo: str) -> None:
    rows = EXAMPLE.splitlines()
    number, at = place
    assume(rows[number][at] != typo)
    rows[number] = rows[number][:at] + typo + rows[number][at + 1 :]
    assert any(p.startswith(f"policy.toml:{number + 1}: ") for p in problems("\n".join(rows)))


# The snapshot


@given(POLICIES)
def test_a_snapshot_through_json_is_the_same_policy(policy: Policy) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(policy)))) == policy


def test_a_snapshot_shares_nothing_with_its_policy() -> None:
    snapshot = to_dict(DEFAULT)
    snapshot["restocking"]["opened"]["fixed"]["usd"] = 1
    snapshot["auto_approve_below"]["usd"] = 1
    snapshot["reasons"].clear()
    assert Policy() == DEFAULT


def test_a_snapshot_of_another_release_is_read() -> None:
    assert from_dict({"window_days": 3, "of_tomorrow": {"x": 1}}) == Policy(window_days=3)


@pytest.mark.parametrize("stored", [{"window_days": "3"}, {"reasons": {"x": {"stripe": "duplicate"}}}])
def test_a_snapshot_that_cannot_be_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        from_dict(stored)


# What it says about a return


def asked(policy: Policy, **facts: Any) -> policies.Decision:
    """Decide about an ordinary return but for `facts`."""
    ordinary: dict[str, Any] = {
        "currency": "usd", "estimate": 1000, "purchased_at": NOW, "requested_at": NOW, "skus": ["SHIRT"],
    }  # fmt: skip
    return decide(policy, **(ordinary | facts))


def test_the_default_asks_one_person_and_bars_nothing() -> None:
    assert asked(DEFAULT) == policies.Decision(True, False, 1, ())


@pytest.mark.parametrize(
    "zone, bought, requested, inside",
    [
        ("UTC", "2026-01-01T00:00:00Z", "2026-01-31T23:59:59Z", True),
        ("UTC", "2026-01-01T23:59:59Z", "2026-02-01T00:00:00Z", False),
        ("UTC", "2026-01-02T00:00:00Z", "2026-01-01T12:00:00Z", True),  # a day ahead: another zone's clock
        ("Europe/Berlin", "2026-03-10T12:00:00Z", "2026-04-09T21:59:59Z", True),  # over the change to summer time
        ("Europe/Berlin", "2026-03-10T12:00:00Z", "2026-04-09T22:00:00Z", False),
        ("America/Los_Angeles", "2026-01-02T07:59:59Z", "2026-02-01T07:59:59Z", True),
        ("America/Los_Angeles", "2026-01-02T07:59:59Z", "2026-02-01T08:00:00Z", False),
        ("Pacific/Auckland", "0001-01-01T00:00:00Z", "9999-12-31T23:00:00Z", False),
    ],
)
@pytest.mark.parametrize("begin", WINDOW_FROM)
def test_the_window_lasts_to_the_end_of_its_last_day(
    begin: WindowFrom, zone: str, bought: str, requested: str, inside: bool
) -> None:
    """B5: days are those of the policy's zone, counted from the purchase or the delivery."""
    policy = Policy(window_from=begin, time_zone=zone, auto_approve_below={"usd": 5000})
    times = {name: datetime.fromisoformat(time) for name, time in (("at", bought), ("requested_at", requested))}
    other = NOW - timedelta(days=9999)
    names = ("purchased_at", "delivered_at") if begin == "purchase" else ("delivered_at", "purchased_at")
    facts = {names[0]: times["at"], names[1]: other, "requested_at": times["requested_at"]}
    decision = asked(policy, **facts)
    assert (decision.allowed, decision.auto_approve) == (inside, inside)
    assert [v.code for v in decision.violations] == ([] if inside else ["outside_window"])


def test_a_window_from_delivery_is_not_judged_by_the_purchase() -> None:
    """B5: without `delivered_at` nothing is violated and nothing approves itself."""
    policy = Policy(window_from="delivery", auto_approve_below={"usd": 5000})
    decision = asked(policy, purchased_at=NOW - timedelta(days=300))
    assert (decision.allowed, decision.auto_approve) == (True, False)


def test_a_window_of_no_days_holds_nothing() -> None:
    assert [v.code for v in asked(Policy(window_days=0)).violations] == ["outside_window"]


@pytest.mark.parametrize("name", ["Europe/Berlim", "", "../UTC", "Europe", "/etc/localtime", "utc\u0000", 1])
def test_a_zone_that_is_none_is_named(name: Any) -> None:
    """B5: the zone is one of the IANA database."""
    assert "time_zone: must be a time zone" in problems(f"time_zone = {json.dumps(name)}")[0]


def test_an_unknown_purchase_needs_no_override_but_a_person() -> None:
    decision = asked(Policy(window_days=0, auto_approve_below={"usd": 5000}), purchased_at=None)
    assert decision.allowed
    assert not decision.auto_approve


def test_excluded_skus_are_named_once_each() -> None:
    policy = Policy(excluded_skus=("GIFT-CARD*", "*-50", "[AB]1"))
    decision = asked(policy, skus=["GIFT-CARD-50", "GIFT-CARD-50", "A1", "gift-car", "C1"])
    assert [v.code for v in decision.violations] == ["excluded_sku", "excluded_sku"]
    assert "GIFT-CARD-50" in decision.violations[0].message
    assert "A1" in decision.violations[1].message


@pytest.mark.parametrize("pattern", ["GIFT-CARD*", "gift-card*", "Gift-Card-[45]0", "ＧＩＦＴ*", "*CARD-5?"])
@pytest.mark.parametrize("sku", ["gift-card-50", "GIFT-CARD-50", " Gift-Card-50", "ｇift-card-50\u200b"])
def test_a_pattern_names_an_sku_however_it_is_written(pattern: str, sku: str) -> None:
    """D2: `GIFT-CARD*` doesn't let `gift-card-50` through."""
    assert [v.code for v in asked(Policy(excluded_skus=(pattern,)), skus=[sku]).violations] == ["excluded_sku"]


@pytest.mark.parametrize("text", ["\ufeffwindow_days = 14\r\n", b"\xef\xbb\xbfwindow_days = 14\n"])
def test_a_byte_order_mark_is_taken(text: str | bytes) -> None:
    """D2: editors on Windows write one."""
    assert policies.parse(text, "policy.toml").window_days == 14


@pytest.mark.parametrize("estimate, approved", [(4999, True), (5000, False)])
def test_small_returns_approve_themselves(estimate: int, approved: bool) -> None:
    assert asked(Policy(auto_approve_below={"usd": 5000}), estimate=estimate).auto_approve is approved


def test_nothing_approves_itself_against_the_policy() -> None:
    policy = Policy(auto_approve_below={"usd": 5000}, excluded_skus=("SHIRT",))
    assert not asked(policy).auto_approve


@pytest.mark.parametrize(
    "table, currency, estimate, people",
    [
        ({}, "usd", 10**9, 1),
        ({"usd": 1000}, "usd", 1000, 1),
        ({"usd": 1000}, "usd", 1001, 2),
        ({"usd": 1000}, "eur", 1, 2),
    ],
)
def test_large_returns_and_forgotten_currencies_need_two_people(
    table: dict[str, int], currency: str, estimate: int, people: int
) -> None:
    policy = Policy(second_person_above=table, auto_approve_below={currency: 10**10})
    decision = asked(policy, currency=currency, estimate=estimate)
    assert decision.approvals_required == people
    assert decision.auto_approve is (people == 1)


def test_free_text_is_a_reason_and_shown() -> None:
    decision = asked(DEFAULT, reasons=["too_small", None, "It hums", "It hums", ""])
    assert decision.allowed
    assert decision.unlisted_reasons == ("It hums",)


@given(POLICIES, CURRENCIES, st.integers(0, 10**12), st.none() | st.integers(0, 10**6), st.lists(WORDS))
def test_nothing_approves_itself_unless_listed_dated_and_allowed(
    policy: Policy, currency: str, estimate: int, hours: int | None, skus: list[str]
) -> None:
    bought = None if hours is None else NOW - timedelta(hours=hours)
    decision = asked(policy, currency=currency, estimate=estimate, purchased_at=bought, delivered_at=bought, skus=skus)
    assert decision.allowed is (not decision.violations)
    if decision.auto_approve:
        assert decision.allowed
        assert bought is not None
        assert decision.approvals_required == 1
        assert estimate < policy.auto_approve_below[currency]


# What it says about money and to Stripe


@pytest.mark.parametrize(
    "reason, code",
    [
        (None, "requested_by_customer"),
        ("too_small", "requested_by_customer"),
        ("looks fraudulent", "requested_by_customer"),
        ("fraudulent", "fraudulent"),
        ("duplicate", "duplicate"),
        ("twice", "duplicate"),
    ],
)
def test_fraud_is_only_told_where_someone_said_exactly_that(reason: str | None, code: str) -> None:
    policy = Policy(reasons={"too_small": Reason("Too small"), "twice": Reason("Twice", "duplicate")})
    assert policy.stripe_reason(reason) == code


def test_our_own_faults_bear_no_restocking_fee() -> None:
    waived = {name for name in DEFAULT.reasons if DEFAULT.waives_restocking(name)}
    assert waived == {"damaged", "wrong_item", "not_as_described"}
    assert not DEFAULT.waives_restocking(None)
    assert not DEFAULT.waives_restocking("It hums")


def test_the_terms_of_a_currency_hold_its_fees_alone() -> None:
    policy = Policy(label_cost={"usd": 500}, restocking={"opened": Restocking(1000, {"eur": 200})})
    dollars, euros = policy.terms("usd", shipping_amount=700), policy.terms("eur")
    assert (dollars.label_cost, dollars.restocking, dollars.shipping_amount) == (500, {"opened": (1000, 0)}, 700)
    assert (euros.label_cost, euros.restocking) == (0, {"opened": (1000, 200)})
