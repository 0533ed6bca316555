"""The proof: our refunds against Stripe's ledger, row by row, to the cent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from returns_service.demo.shop import Shop
from returns_service.domain.money import format_amount
from returns_service.domain.plural import pluralize


@dataclass
class Proof:
    """The two ledgers, refund by refund."""

    ours: dict[str, tuple[int, str]]  # Stripe's id -> what we say has reached the customer: minor units, currency
    theirs: dict[str, tuple[int, str]]  # the same, as Stripe holds it
    decided: int  # refunds decided here
    rows: list[dict[str, Any]]

    @property
    def holds(self) -> bool:
        """Whether both say the same of every refund, and every return has ended."""
        return self.ours == self.theirs and bool(self.ours) and all(r["state"] == "refunded" for r in self.rows)

    def line(self) -> str:
        """Return the proof in one line."""
        word = "holds" if self.holds else "DOES NOT HOLD"
        return (
            f"Proof {word}: {pluralize(len(self.ours), 'refund')} succeeded here, {write_sums(self.ours)}; "
            f"{len(self.theirs)} in Stripe's ledger, {write_sums(self.theirs)}."
        )


def write_sums(refunds: dict[str, tuple[int, str]]) -> str:
    """Return the sums in words, each currency by itself."""
    sums: dict[str, int] = {}
    for amount, currency in refunds.values():
        sums[currency] = sums.get(currency, 0) + amount
    return " and ".join(format_amount(amount, currency) for currency, amount in sorted(sums.items())) or "nothing"


async def prove(shop: Shop) -> Proof:
    """Hold our refunds against Stripe's ledger."""
    await asyncio.sleep(1.2)  # by then Stripe has made every change that it makes on its own
    ours = [refund for refund in await everything(shop.api, "/v1/refunds") if refund["stripe_refund"]]
    theirs = await everything(shop.control, "/v1/refunds")
    rows = []
    for shows, name in shop.returns:
        row = await shop.get(f"/v1/returns/{name}")
        rows.append({"shows": shows} | {key: row[key] for key in ROW})
    return Proof(
        {r["stripe_refund"]: (r["amount"], r["currency"]) for r in ours if r["status"] == "succeeded"},
        {r["id"]: (r["amount"], r["currency"]) for r in theirs if r["status"] == "succeeded"},
        sum(r["source"] != "external" for r in ours),
        rows,
    )


ROW = ("id", "order_id", "state", "currency", "amount_authorized", "amount_refunded", "amount_settled_outside")


async def everything(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    """Return all pages of a list."""
    found: list[dict[str, Any]] = []
    while True:
        after = {"starting_after": found[-1]["id"]} if found else {}
        page = (await client.get(path, params={"limit": 100, **after})).raise_for_status().json()
        found += page["data"]
        if not page["has_more"]:
            return found


def print_proof(console: Console, proof: Proof) -> None:
    """Print the day's table and the proof."""
    table = Table("order", "what happened", "state", "authorized", "refunded", "settled outside")
    for row in proof.rows:
        currency = row["currency"]
        amounts = (
            format_amount(row[f"amount_{kind}"], currency) for kind in ("authorized", "refunded", "settled_outside")
        )
        table.add_row(row["order_id"], row["shows"], row["state"], *amounts)
    console.print(table)
    console.print(proof.line(), style="bold green" if proof.holds else "bold red")
