"""Which policy decided about a return and why, and what another one would have decided over past returns."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from returns_service.commands.policy_versions import keep_policy_version
from returns_service.domain.policy import DEFAULT, Restocking, to_dict, version_of
from returns_service.queries.policy_judgement import explanation
from returns_service.queries.policy_trial import Trial, returns_since, try_returns
from returns_service.queries.policy_versions import policy_versions
from returns_service.return_case.loader import load_case
from tests.harness.process import Ended, run_to_end
from tests.harness.shop import KEY, SECRET, Shop

STRICT = replace(
    DEFAULT,
    accepted_conditions=("opened",),
    second_person_above={"usd": 5000},
    label_cost={"usd": 500},
    restocking={"new": Restocking(1000)},
)


async def try_policy(shop: Shop, tried: object = STRICT) -> Trial:
    """Return what a policy comes to over all of the shop's returns."""
    trial = Trial()
    async with shop.db.reading() as tx:
        ids = await returns_since(tx, shop.time - timedelta(days=90), "", 100)
        assert ids == sorted(ids)
        for result in await try_returns(tx, shop.policy, tried, ids):  # type: ignore[arg-type]
            trial.add(result)
    return trial


async def test_a_policy_is_tried_over_past_returns_in_number_and_money(shop: Shop) -> None:
    small = await shop.authorize_return(shop.pay(3000), units=1, amount=3000, order_id="small")
    await shop.count(small)
    await shop.authorize_return(shop.pay(9000), order_id="large")
    rows = {row["figure"]: row for row in (await try_policy(shop)).rows()}
    counts = {name: (row["returns_before"], row["returns_after"]) for name, row in rows.items()}
    assert counts == {"one_person": (2, 1), "two_people": (0, 1), "worth": (2, 2), "owed": (1, 0)}
    # The fee of a tenth, and the label, are taken from both; a new mug is paid no more.
    assert (rows["worth"]["amount_before"], rows["worth"]["amount_after"]) == (12_000, 2200 + 7600)
    assert rows["owed"]["amount_difference"] == -3000
    assert {row["currency"] for row in rows.values()} == {"usd"}


async def test_a_return_is_judged_by_the_policy_that_it_was_approved_under(shop: Shop) -> None:
    await shop.authorize_return(shop.pay(9000))
    shop.policy = STRICT  # in force from now on; what is approved keeps its own
    assert (await try_policy(shop, STRICT)).differing == 1
    assert (await try_policy(shop, DEFAULT)).differing == 0


async def test_trying_changes_nothing(shop: Shop) -> None:
    return_id = await shop.authorize_return(shop.pay(9000))
    before = await shop.count(return_id)
    await try_policy(shop)
    assert await shop.show_return(return_id) == before


async def test_a_return_names_the_version_that_decided(shop: Shop) -> None:
    version = version_of(to_dict(DEFAULT))
    async with shop.db.transaction() as tx:
        assert await keep_policy_version(tx, DEFAULT) == version
    return_id = await shop.authorize_return(shop.pay(9000), reason="damaged")
    assert (await shop.show_return(return_id))["policy_version"] == version
    shop.policy = STRICT
    shop.advance(60)
    async with shop.db.transaction() as tx:
        newer = await keep_policy_version(tx, STRICT)
        assert await keep_policy_version(tx, STRICT) == newer  # as at every start
        shown = await policy_versions(tx)
        told = explanation(await load_case(tx, STRICT, return_id))
    assert [row["id"] for row in shown] == [version, newer]
    assert [row["changed"] for row in shown] == [[], sorted(told["differs_in"])]
    assert told["differs_in"] == ["accepted_conditions", "second_person_above", "label_cost", "restocking"]
    assert (told["policy_version"], told["from"], told["outcome"]) == (version, "approval", "one_person")
    assert "No restocking fee for units that come back as damaged." in [rule["message"] for rule in told["rules"]]
    assert (told["worth"], sum(part["amount"] for part in told["breakdown"])) == (9000, 9000)


async def test_the_commands_print_them(shop: Shop, database_url: str, tmp_path: Path) -> None:
    return_id = await shop.authorize_return(shop.pay(9000))
    await shop.db.run(lambda tx: keep_policy_version(tx, DEFAULT))
    (tmp_path / "new.toml").write_text("second_person_above = {usd = 5000}\n")
    settings = {"STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET, "HOME": str(tmp_path)}

    async def command(*words: str) -> Ended:
        environment = {**settings, "DATABASE_URL": database_url}
        ended = await asyncio.to_thread(run_to_end, ["policy", *words], environment, tmp_path)
        assert (ended.code, ended.err) == (0, "")
        return ended

    table = (await command("try", "new.toml", "--since", "2026-01-01")).out.splitlines()
    assert table[0].split("\t") == ["one person approves", "1", "0", "90.00 USD", "0.00 USD", "−90.00 USD"]
    assert table[-1] == "1 of 1 returns differ; --json tells which."
    told = (await command("try", "new.toml", "--since", "2026-01-01", "--json")).json()
    assert (told["returns"], told["differing"]) == (1, 1)
    (difference,) = told["differences"]
    assert difference["return"] == return_id
    assert (difference["before"]["outcome"], difference["after"]["outcome"]) == ("one_person", "two_people")
    assert (await command("try", "new.toml", "--since", "2099-01-01")).out.startswith("No return was asked for")
    said = (await command("explain", return_id)).out
    assert said.startswith(f"{return_id} is approved, approved under pol_")
    assert "two people" in said
    (version,) = (await command("versions", "--json")).json()
    assert version["policy"]["window_days"] == DEFAULT.window_days
