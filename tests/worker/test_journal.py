"""B10: the refunds' CSV is a journal that the books can take as it is."""

from __future__ import annotations

import asyncio
import csv
import io
from pathlib import Path

import pytest

from returns_service.commands.return_lines import NewLine
from returns_service.domain.money import decimal_amount
from returns_service.queries.refund_journal import COLUMNS, cell
from tests.harness.process import run_to_end
from tests.harness.shop import KEY, SECRET, Shop


async def journal(url: str, folder: Path, *words: str) -> list[dict[str, str]]:
    """Return the rows that the command prints."""
    settings = {"STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_API_BASE": "http://127.0.0.1:1"}
    environment = {"HOME": str(folder), "DATABASE_URL": url, **settings}
    ended = await asyncio.to_thread(run_to_end, ["journal", *words], environment, folder)
    assert (ended.code, ended.err) == (0, "")
    reader = csv.DictReader(io.StringIO(ended.out))
    assert tuple(reader.fieldnames or ()) == COLUMNS
    return list(reader)


async def test_b10_the_journal_tells_gross_net_and_tax_of_each_refund(
    shop: Shop, database_url: str, tmp_path: Path
) -> None:
    intent = shop.pay(10_000)
    lines = [NewLine("SHIRT", 3, 10_000, tax_amount=1597)]
    return_id = await shop.authorize_return(intent, lines=lines, order_id="=order_1")
    for _ in range(3):
        await shop.count(return_id)
        await shop.work()
        await shop.deliver()
    rows = await journal(database_url, tmp_path, "--since", "2026-01-01")
    assert [(row["gross"], row["net"], row["tax"]) for row in rows] == [
        ("33.33", "28.01", "5.32"), ("33.33", "28.01", "5.32"), ("33.34", "28.01", "5.33"),
    ]  # fmt: skip
    first = rows[0]
    assert (first["order"], first["return"], first["currency"]) == ("'=order_1", return_id, "usd")
    assert (first["status"], first["stripe_refund"][:3], first["date"][:2]) == ("succeeded", "re_", "20")
    assert first["reason"] == "requested_by_customer"
    assert await journal(database_url, tmp_path, "--since", "2026-01-01", "--until", "2026-01-02") == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell("order_1") == "order_1"


@pytest.mark.parametrize(
    "amount, currency, text", [(3333, "usd", "33.33"), (-150, "usd", "-1.50"), (500, "jpy", "500"), (5, "kwd", "0.005")]
)
def test_amounts_are_decimal_numbers(amount: int, currency: str, text: str) -> None:
    assert decimal_amount(amount, currency) == text
