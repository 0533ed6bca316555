"""Commands about the return policy: an example, a check, why it decided so, and what another one would decide."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from returns_service import settings
from returns_service.cli.operator import ROWS_AT_ONCE, begin_of
from returns_service.cli.output import json_option, open_database, print_rows, progress_bar, run, with_database
from returns_service.domain import policy as policies
from returns_service.domain.money import format_amount

if TYPE_CHECKING:
    from returns_service.queries.policy_trial import Trial, TriedReturn

WORDS = {
    "approves_itself": "approves itself",
    "one_person": "one person approves",
    "two_people": "two people approve",
    "not_allowed": "not allowed",
    "worth": "worth, if all comes back",
    "owed": "owed for what came back",
}


@click.group()
def policy() -> None:
    """The shop's return policy, a TOML file.

    Example: returns-service policy example > policy.toml
    """


@policy.command("example")
def policy_example() -> None:
    """Print a policy with every setting, commented.

    Example: returns-service policy example > policy.toml
    """
    click.echo(policies.example(), nl=False)


@policy.command("check")
@click.argument("file", type=click.File("rb"))
@json_option
def policy_check(file: Any, as_json: bool) -> None:
    """Check a policy file; `-` reads stdin. Every mistake is named by its line.

    Example: returns-service policy check policy.toml
    """
    parsed = policies.parse(file.read(), file.name)
    click.echo(json.dumps(policies.to_dict(parsed)) if as_json else f"{file.name}: a complete policy, no mistakes.")


@policy.command("versions")
@json_option
def policy_versions(as_json: bool) -> None:
    """List the policies that were in force, oldest first, and the settings that each changed.

    Example: returns-service policy versions
    """
    from returns_service.queries.policy_versions import policy_versions

    rows = with_database(policy_versions)
    print_rows(rows if as_json else [{k: v for k, v in row.items() if k != "policy"} for row in rows], as_json)


@policy.command("explain")
@click.argument("return_id", metavar="RETURN")
@json_option
def policy_explain(return_id: str, as_json: bool) -> None:
    """Say which policy decides about a return, what each of its rules says, and what the return is worth.

    Example: returns-service policy explain ret_01k…
    """
    from returns_service.queries.policy_judgement import explanation
    from returns_service.return_case.loader import load_case
    from returns_service.wiring import policy_of

    in_force = policy_of(settings.load())

    async def look(tx: Any) -> dict[str, Any]:
        return explanation(await load_case(tx, in_force, return_id))

    told = with_database(look)
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    source = "approved under" if told["from"] == "approval" else "goes by the policy in force,"
    click.echo(f"{told['return']} is {told['state']}, {source} {told['policy_version']}: {WORDS[told['outcome']]}.")
    for given in told["approvals"]:
        why = f" ({given.get('override_reason') or given.get('note')})" if len(given) > 2 else ""
        click.echo(f"Approved by {given['by']} at {given['at']}{why}.")
    print_rows(told["rules"], as_json=False)
    amounts = [f"{WORDS[name]} {format_amount(told[name], told['currency'])}" for name in ("worth", "owed")]
    click.echo("; ".join(amounts))
    if told["differs_in"]:
        click.echo(f"The policy in force differs in: {', '.join(told['differs_in'])}")


@policy.command("try")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--since",
    callback=begin_of,
    default="90d",
    show_default=True,
    metavar="SPAN",
    help="Returns asked for in this span, 12h, 90d, 4w, or from a day on.",
)
@json_option
def policy_try(file: Any, since: timedelta | datetime, as_json: bool) -> None:
    """Try a policy over past returns: what it would have decided, beside what theirs did. Nothing is changed.

    A return is judged as of its request. Its own policy is the one it was approved under, or else the one in force.
    With --json each return that differs is printed; amounts are minor units there.

    Example: returns-service policy try new.toml --since 90d
    """
    from returns_service.wiring import policy_of

    tried = policies.parse(file.read(), file.name)
    run(_print_trial(policy_of(settings.load()), tried, Path(file.name).name, since, as_json))


async def _print_trial(
    in_force: policies.Policy, tried: policies.Policy, name: str, since: timedelta | datetime, as_json: bool
) -> None:
    from returns_service.queries.policy_trial import Trial, count_returns, returns_since, try_returns

    trial, after = Trial(), ""
    async with open_database(settings.load()) as database:
        begin = database.now() - since if isinstance(since, timedelta) else since
        async with database.reading() as tx:
            total = await count_returns(tx, begin)
        if as_json:
            version = policies.version_of(policies.to_dict(tried))
            head = {"object": "policy_trial", "since": begin.isoformat(), "policy_version": version}
            click.echo(json.dumps(head)[:-1] + ', "differences": [', nl=False)
        with progress_bar("Trying the policy", "returns") as progress:
            while True:
                async with database.reading() as tx:
                    ids = await returns_since(tx, begin, after, ROWS_AT_ONCE)
                    results = await try_returns(tx, in_force, tried, ids)
                for result in results:
                    if as_json and result.differs:
                        print_difference(result, is_first=trial.differing == 0)
                    trial.add(result)
                progress(trial.returns / max(1, total), trial.returns)
                if len(ids) < ROWS_AT_ONCE:
                    break
                after = ids[-1]
    if as_json:
        tail = {"returns": trial.returns, "differing": trial.differing, "figures": trial.rows()}
        click.echo("], " + json.dumps(tail)[1:])
    else:
        print_trial(trial, name)


def print_difference(result: TriedReturn, *, is_first: bool) -> None:
    """Print a return as an element of a JSON array."""
    click.echo(("" if is_first else ", ") + json.dumps(result.as_json(), ensure_ascii=False), nl=False)


def print_trial(trial: Trial, name: str) -> None:
    """Print the sums as a table, a line for each figure and currency."""
    rows = [
        {
            "figure": WORDS[row["figure"]],
            "returns": row["returns_before"],
            f"with {name}": row["returns_after"],
            "amount": format_amount(row["amount_before"], row["currency"]),
            f"amount with {name}": format_amount(row["amount_after"], row["currency"]),
            "difference": format_amount(row["amount_difference"], row["currency"]),
        }
        for row in trial.rows()
    ]
    print_rows(rows, as_json=False, empty="No return was asked for in that time.")
    click.echo(f"{trial.differing} of {trial.returns} returns differ; --json tells which.")
