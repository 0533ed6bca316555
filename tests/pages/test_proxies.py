"""What a proxy says of a visitor is believed only from proxies that the settings name."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.harness.deployment import clean_environment, deployed, free_port
from tests.harness.process import run_to_end
from tests.pages.conftest import HTML, PASSWORD

FORWARDED = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https", "Accept": HTML}


@pytest.mark.parametrize(
    "trusted, address, secure",
    [("", "127.0.0.1", False), ("192.0.2.1", "127.0.0.1", False), ("127.0.0.0/8", "198.51.100.7", True)],
)
async def test_who_is_believed(tmp_path: Path, trusted: str, address: str, secure: bool) -> None:
    url = f"sqlite:///{tmp_path}/returns.db"
    words = ["users", "add", "mara@shop.test", "--role", "warehouse", "--password-stdin"]
    assert run_to_end(words, clean_environment(DATABASE_URL=url), tmp_path, PASSWORD).code == 0
    settings = {"RETURNS_TRUSTED_PROXIES": trusted, "STRIPE_API_BASE": "http://127.0.0.1:9"}
    async with deployed(tmp_path, url, **settings) as deployment:
        web = await deployment.start_web(free_port(), "--no-worker")
        async with httpx.AsyncClient(base_url=deployment.webs[0], headers=FORWARDED) as client:
            page = await client.get("/sign-in")
            token = re.search(r'name="token" value="(\w+)"', page.text)
            assert token is not None
            cookies = {"Cookie": page.headers["set-cookie"].partition(";")[0]}  # Secure ones, too, over plain http
            form = {"token": token[1], "email": "mara@shop.test", "password": PASSWORD}
            answer = await client.post("/sign-in", data=form, headers=cookies)
            assert answer.status_code == 303, answer.text
            assert ("secure" in answer.headers["set-cookie"].lower()) == secure
        assert web.end() == 0
    with sqlite3.connect(tmp_path / "returns.db") as database:
        assert database.execute("SELECT address FROM staff_session").fetchall() == [(address,)]
