"""Signatures as the specification's own example has them, and the schedule of calls."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from returns_service.domain.webhook_signature import GIVE_UP_AFTER, delay_after, secret_of, signature, signed_headers

AT = datetime(2021, 2, 25, 20, 48, 34, tzinfo=UTC)
RANDOM = bytes(range(32))


def test_a_signature_is_that_of_the_known_answer() -> None:
    # Computed with `openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f -binary | base64`.
    said = signature(secret_of(RANDOM), "evt_1", 1614265330, b'{"test": 2432232314}')
    assert said == "v1," + "WyexmCITqdBtToZRPqUQg29ykDO9mdYqGHgJYLfHCrc="


def test_a_secret_is_base64_of_all_its_bytes() -> None:
    secret = secret_of(RANDOM)
    assert secret.startswith("whsec_")
    assert base64.b64decode(secret.removeprefix("whsec_"), validate=True) == RANDOM


def test_every_secret_in_force_signs_and_the_newest_comes_first() -> None:
    new, old = secret_of(RANDOM), secret_of(RANDOM[::-1])
    headers = signed_headers([new, old], "evt_1", AT, b"{}")
    assert headers["webhook-id"] == "evt_1"
    assert headers["webhook-timestamp"] == str(int(AT.timestamp()))
    stamp = int(AT.timestamp())
    assert headers["webhook-signature"].split(" ") == [
        signature(new, "evt_1", stamp, b"{}"),
        signature(old, "evt_1", stamp, b"{}"),
    ]


def test_another_id_time_or_body_is_another_signature() -> None:
    secret = secret_of(RANDOM)
    said = {signature(secret, *of) for of in [("a", 1, b"{}"), ("b", 1, b"{}"), ("a", 2, b"{}"), ("a", 1, b"[]")]}
    assert len(said) == 4


def test_the_schedule_is_short_then_long_and_ends_after_three_days() -> None:
    waits = [delay_after(failures) for failures in range(1, 18)]
    assert [int(wait.total_seconds()) for wait in waits[:5]] == [5, 30, 300, 1800, 7200]
    assert set(waits[5:]) == {timedelta(hours=6)}
    calls = [sum(waits[:number], timedelta()) for number in range(18)]
    assert next(number for number, since in enumerate(calls) if since >= GIVE_UP_AFTER) == 17  # and 5 within 36 min
