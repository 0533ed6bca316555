"""What a proxy says of a visitor is believed only from proxies that the settings name."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.pages.conftest import HTML
from tests.processes.town import answering, free_port

BIN = Path(sys.executable).parent
FORWARDED = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https", "Accept": HTML}


@pytest.mark.parametrize(
    "trusted, address, secure",
    [("", "127.0.0.1", False), ("192.0.2.1", "127.0.0.1", False), ("127.0.0.0/8", "198.51.100.7", True)],
)
async def test_who_is_believed(tmp_path: Path, trusted: str, address: str, secure: bool) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STRIPE_", "RETURNS_", "DATABASE_"))}
    environment = {
        **kept, "DATABASE_URL": f"sqlite:///{tmp_path}/returns.db", "RETURNS_TRUSTED_PROXIES": trusted,
        "STRIPE_SECRET_KEY": "sk_test_" + "proxy", "STRIPE_WEBHOOK_SECRET": "whsec_" + "proxy",
        "STRIPE_API_BASE": "http://127.0.0.1:9",
    }  # fmt: skip
    command, password = [BIN / "returns-service"], "correct horse battery"
    words = ["users", "add", "mara@shop.test", "--role", "warehouse", "--password-stdin"]
    subprocess.run(
        [*command, *words], env=environment, cwd=tmp_path, input=password, text=True, check=True, capture_output=True
    )
    port = free_port()
    serving = subprocess.Popen(
        [*command, "serve", "--no-worker", "--port", str(port)], env=environment, cwd=tmp_path, stdout=subprocess.PIPE
    )
    try:
        await answering(f"http://127.0.0.1:{port}/healthz")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=FORWARDED) as client:
            page = await client.get("/sign-in")
            token = re.search(r'name="token" value="(\w+)"', page.text)
            assert token is not None
            cookies = {"Cookie": page.headers["set-cookie"].partition(";")[0]}  # Secure ones, too, over plain http
            form = {"token": token[1], "email": "mara@shop.test", "password": password}
            answer = await client.post("/sign-in", data=form, headers=cookies)
            assert answer.status_code == 303, answer.text
            assert ("secure" in answer.headers["set-cookie"].lower()) == secure
    finally:
        serving.terminate()
        assert serving.wait(timeout=30) == 0
    with sqlite3.connect(tmp_path / "returns.db") as database:
        assert database.execute("SELECT address FROM staff_session").fetchall() == [(address,)]
