"""The house's own rules: who may import whom, documents that say what the code does, commands that run."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import click
import pytest

from returns_service.cli import main
from returns_service.domain.problems import PROBLEMS, ProblemCode
from returns_service.domain.webhook_signature import secret_of, signed_headers
from tests.harness.deployment import clean_environment, free_port
from tests.harness.patience import block_until
from tests.harness.process import run_to_end
from tests.readme import README, current

ROOT = Path(__file__).parent.parent
CODE = sorted((ROOT / "returns_service").rglob("*.py"))
BIN = Path(sys.executable).parent


def blocks() -> list[str]:
    """Return the README's shell blocks."""
    return re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_everybody_imports_only_whom_they_may() -> None:
    done = subprocess.run([BIN / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_stripe_is_imported_in_one_room() -> None:
    says_so = re.compile(r"^\s*(import stripe\b|from stripe\b)", flags=re.MULTILINE)
    importing = [p for p in CODE if says_so.search(p.read_text())]
    assert {str(p.relative_to(ROOT).parent) for p in importing} == {"returns_service/stripe_gateway"}


def test_no_file_is_two_rooms_in_one() -> None:
    rooms = [p for p in CODE if "migrations" not in p.parts]
    assert {str(p): n for p in rooms if (n := len(p.read_text().splitlines())) > 400} == {}


def test_a_command_fires_a_trigger_in_one_way() -> None:
    """`return_case/transition.py` fires: it names what can be done instead, and forgets what barred a refund."""
    rooms = [p for p in CODE if p.name != "transition.py" or p.parent.name != "return_case"]
    assert [str(p) for p in rooms if "return_machine.fire(" in p.read_text()] == []


def is_sentence(node: ast.AST, sentences: set[str]) -> bool:
    """Return whether a piece of code is a sentence: words as they are read, or a name that stands for them."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and len(node.value.split()) >= 3
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(is_sentence(part, sentences) for part in node.elts)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in sentences


def sentences_in(tree: ast.Module) -> set[str]:
    """Return the names of a module that stand for sentences."""
    found = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign) and node.value]
    names = [
        (target, node.value) for node in found for target in getattr(node, "targets", [getattr(node, "target", 0)])
    ]
    return {name.id for name, value in names if isinstance(name, ast.Name) and value and is_sentence(value, set())}


def decided_by_sentences(tree: ast.Module, sentences: set[str]) -> list[str]:
    """Return the comparisons of a module that have a sentence on either side."""
    compared: list[tuple[ast.AST, list[ast.AST]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            compared.append((node, [node.left, *node.comparators]))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            looks = node.func.attr in ("startswith", "endswith", "find", "index")
            compared += [(node, list(node.args))] if looks else []
        elif isinstance(node, ast.MatchValue):
            compared.append((node, [node.value]))
    return [ast.unparse(node) for node, parts in compared if any(is_sentence(part, sentences) for part in parts)]


def test_d3_nothing_is_decided_by_a_sentence() -> None:
    """D3: `waits_for.endswith(…)`, `== BALANCE_TOO_LOW`, `disabled_reason.startswith(…)`: codes decide."""
    ours = [path for path in CODE if not {"migrations", "stripe_simulator", "demo"} & {*path.parts}]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in ours}
    own = {path: sentences_in(tree) for path, tree in trees.items()}
    by_module = {".".join(path.relative_to(ROOT).with_suffix("").parts): names for path, names in own.items()}
    for path, tree in trees.items():
        taken = [
            name.asname or name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for name in node.names
            if name.name in by_module.get(node.module or "", ())
        ]
        assert decided_by_sentences(tree, own[path] | set(taken)) == [], path
    bad = ast.parse("SAID = 'Too little is left.'\nif row.said == SAID or row.said.startswith('Too little is'): pass")
    assert len(decided_by_sentences(bad, sentences_in(bad))) == 2


def test_the_readme_says_what_the_code_says() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == current(text), "run: python -m tests.readme"


def test_every_code_of_a_problem_has_its_words() -> None:
    assert tuple(PROBLEMS) == get_args(ProblemCode)


def test_ci_runs_the_readmes_test_command() -> None:
    commands = [block.strip() for block in blocks() if "pytest" in block]
    assert len(commands) == 1
    assert f'step "{commands[0]}"\n' in (ROOT / ".ci/run").read_text()


def test_every_place_of_the_code_that_the_readme_names_exists() -> None:
    text = README.read_text(encoding="utf-8")
    places = re.findall(r"`([\w/]+\.py)(?::(\w+))?`", text[text.index("## How it works") :])
    assert len({function for _, function in places}) > 10
    for place, function in places:
        file = next((folder / place for folder in (ROOT / "returns_service", ROOT) if (folder / place).exists()), None)
        assert file is not None, place
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        defined = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)}
        assert function in ("", *defined), f"{place}:{function}"


def test_every_command_in_the_readme_exists() -> None:
    from returns_service.cli import commands

    text = re.sub(r"```mermaid.*?```", "", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = re.findall(r"(?<![\w\[/'-])returns-service ([a-z][^`|&>#;)\n]*)", re.sub(r"\n\s+", " ", text))
    assert len(lines) > 30
    for line in lines:
        words = shlex.split(line)
        found: click.Command = commands
        while words and isinstance(found, click.Group):
            found = found.commands[words.pop(0)]
        known = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_every_command_has_help_with_an_example() -> None:
    from returns_service.cli import commands

    def walk(command: click.Command, path: list[str]) -> Iterator[tuple[list[str], click.Command]]:
        yield path, command
        for name, inner in command.commands.items() if isinstance(command, click.Group) else ():
            yield from walk(inner, [*path, name])

    for path, command in walk(commands, []):
        assert command.help, path
        assert "Example:" in command.help, path


@pytest.mark.parametrize("words", ["nope", "users add a@b.example", "users add a@b.example --role x", "serve --port x"])
def test_a_mistyped_command_is_one_line(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["returns-service", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith("returns-service: ")


def test_the_demo_proves_itself(tmp_path: Path) -> None:
    words = ["demo", "--exit", "--json", "--days", "2", "--port", "0", "--data", str(tmp_path / "data")]
    ended = run_to_end(words, clean_environment(HOME=str(tmp_path)), tmp_path)
    assert ended.code == 0, ended.err[-3000:]
    shown = ended.json()
    assert set(shown["sign_in"]) == {"warehouse", "approver", "finance", "admin"}
    proof = shown["proof"]
    assert proof["holds"] is True
    assert {row["state"] for row in proof["returns"]} == {"refunded"}
    leaves_work_on_every_page(tmp_path / "data" / "returns.db")


def leaves_work_on_every_page(file: Path) -> None:
    """Hold what waits in the demo's database when its story is over, and that its past agrees with Stripe's ledger."""
    with closing(sqlite3.connect(file)) as database:

        def words(query: str) -> set[Any]:
            return {row[0] for row in database.execute(query)}

        assert {"requested", "approved", "refunding", "failed"} <= words("SELECT state FROM return_authorization")
        open_refunds = words("SELECT status FROM refund WHERE superseded_at IS NULL")
        assert {"unknown", "failed", "pending"} <= open_refunds
        assert "balance_too_low" in words("SELECT waiting_code FROM refund WHERE status = 'pending'")
        wanted = words("SELECT resolution FROM return_authorization WHERE due_outside > 0")
        assert wanted == {"exchange", "store_credit"}
        assert words("SELECT disputed FROM payment") == words("SELECT external_open FROM payment") == {0, 1}
        for waits in (
            "undeclared_item WHERE decision IS NULL",
            "unmatched_receipt WHERE receipt_id IS NULL",
            "device WHERE approved_at IS NULL",
            "photo WHERE return_id IS NOT NULL",
        ):
            assert words(f"SELECT count(*) FROM {waits}") == {1}, waits  # noqa: S608 - our own words
        assert words("SELECT differing FROM reconciliation_run WHERE finished_at IS NOT NULL") == {0}


def test_the_demo_takes_no_ledger_of_an_earlier_day(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "returns.db").touch()
    words = ["demo", "--exit", "--port", "0", "--data", str(tmp_path / "data")]
    ended = run_to_end(words, clean_environment(HOME=str(tmp_path)), tmp_path)
    assert ended.code == 1
    assert "earlier day" in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err


def test_the_readmes_shell_lines_run(tmp_path: Path) -> None:
    script = "".join(block for block in blocks() if "pytest" not in block and "demo" not in block.split())
    (listener,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "listener.py").write_text(listener)
    for port in ("8000", "9000", "12111"):
        script = script.replace(port, str(free_port()))
    script = script.replace('export PATH="$PWD/.venv/bin:$PATH" ', "export ")
    out, errors = tmp_path / "out", tmp_path / "err"
    shell = subprocess.Popen(
        ["bash", "-c", "set -e\n" + script],
        cwd=tmp_path,
        env=clean_environment(HOME=str(tmp_path), PATH=f"{BIN}:{os.environ['PATH']}"),
        stdout=out.open("wb"),
        stderr=errors.open("wb"),
        start_new_session=True,
    )

    def look() -> tuple[int | None, int, int]:
        return shell.poll(), out.stat().st_size, errors.stat().st_size

    try:
        code, _, _ = block_until(look, "the end of the README's lines", until=lambda seen: seen[0] is not None)
    finally:
        with contextlib.suppress(ProcessLookupError):  # the lines end what they began, unless one of them failed
            os.killpg(shell.pid, signal.SIGTERM)
    printed = out.read_text()
    assert code == 0, printed + errors.read_text()
    said = [line for line in printed.splitlines() if not line.startswith("ready")]
    assert said == [
        "approved", "receipt", "3333", "receipt", "refunded",
        "pending", "ping",
        "return", "event: return.updated",
        "once", "idempotency_key_reused", "nothing_due", "version_mismatch",
        "failed", "stopped", "ok",
    ]  # fmt: skip


def test_the_readmes_lines_verify_an_outgoing_webhook() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - our own README
    event_of, now, body = names["event_of"], datetime.now(UTC), b'{"id": "evt_1"}'
    new, old, other = (secret_of(bytes([number]) * 32) for number in (1, 2, 3))
    headers = signed_headers([new, old], "evt_1", now, body)
    assert event_of(headers, body, new) == event_of(headers, body, old) == {"id": "evt_1"}
    late = signed_headers([new], "evt_1", now - timedelta(seconds=301), body)
    for wrong in ((headers, body, other), (headers, body + b" ", new), ({**headers, "webhook-id": "evt_2"}, body, new),
                  (late, body, new)):  # fmt: skip
        with pytest.raises(ValueError, match="the "):
            event_of(*wrong)
    for name in headers:
        others = {other: value for other, value in headers.items() if other != name}
        for odd in (others, {**headers, name: ""}, {**headers, name: "ä \ud800 ½"}, {**headers, name: "v1,"}):
            with pytest.raises(ValueError, match=r"\S"):
                event_of(odd, body, new)
    for secret in ("", "whsec_", "whsec_a", "ünfug"):
        with pytest.raises(ValueError, match=r"\S"):
            event_of(headers, body, secret)
    for broken in (b"", b"\xff", b"{", b"[" * 100_000):
        signed = dict(signed_headers([new], "evt_1", now, broken))
        with pytest.raises(ValueError, match=r"\S"):
            event_of(signed, broken, new)


@pytest.mark.parametrize(
    "words, message",
    [
        (["serve"], "STRIPE_SECRET_KEY"),
        (["worker"], "STRIPE_SECRET_KEY"),
        (["policy", "check", "-"], "window_day"),
        (["policy", "check", "latin1.toml"], "latin1.toml:2: not UTF-8"),
        (["keys", "create", "--name", "x", "--scope", "everything"], "Scopes are"),
        (["keys", "revoke", "key_none"], "no key"),
    ],
)
def test_a_mistake_is_one_line_and_a_non_zero_exit(tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "latin1.toml").write_bytes("window_days = 3\n# für immer\n".encode("latin-1"))
    ended = run_to_end(words, clean_environment(HOME=str(tmp_path)), tmp_path, text="window_day = 3\n")
    assert ended.code != 0
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert "Traceback" not in ended.err


def test_a_port_in_use_is_said_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = {"STRIPE_SECRET_KEY": "sk_test_" + "demo", "STRIPE_WEBHOOK_SECRET": "whsec_" + "demo"}
        ended = run_to_end(["serve", "--port", port], clean_environment(HOME=str(tmp_path), **settings), tmp_path)
    assert ended.code == 1
    assert "--port" in ended.err


def test_a_database_file_that_cant_be_written_is_said_so(tmp_path: Path) -> None:
    environment = clean_environment(HOME=str(tmp_path), DATABASE_URL=f"sqlite:///{tmp_path}/no/such/folder/returns.db")
    ended = run_to_end(["keys", "list"], environment, tmp_path)
    assert ended.code == 1
    assert "DATABASE_URL" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
