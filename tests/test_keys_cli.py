"""B6, B7: what the command line makes is private, and a key may end by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.harness.deployment import clean_environment
from tests.harness.process import Ended, run_to_end


def create_key(folder: Path, *words: str) -> Ended:
    """Make a key in a new database of the folder."""
    environment = clean_environment(DATABASE_URL=f"sqlite:///{folder}/new.db")
    return run_to_end(["keys", "create", "--name", "x", "--scope", "admin", "--json", *words], environment, folder)


def test_b7_a_key_ends_by_itself(tmp_path: Path) -> None:
    made = json.loads(create_key(tmp_path, "--expires-in", "1h").out)
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert 0 < left.total_seconds() <= 3600
    assert json.loads(create_key(tmp_path).out)["expires_at"] is None


@pytest.mark.parametrize("span", ["soon", "1", "-1h", "0d", "1y"])
def test_b7_a_span_that_is_none_is_refused(tmp_path: Path, span: str) -> None:
    ended = create_key(tmp_path, "--expires-in", span)
    assert ended.code != 0
    assert "no span" in ended.err


@pytest.mark.parametrize("name", ["", "  ", "shop\nbackend", "\u200b", "x" * 101])
def test_a_name_that_tells_no_key_from_another_is_refused(tmp_path: Path, name: str) -> None:
    """`keys list` showed a blank; the page for keys refused such names already."""
    ended = create_key(tmp_path, "--name", name)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert "Name who uses it" in ended.err


def test_an_owner_whom_nobody_knows_is_told(tmp_path: Path) -> None:
    """A mistyped address made a second person for two-person approval, in silence."""
    ended = create_key(tmp_path, "--owner", "Ann@shop.example")
    assert (ended.code, json.loads(ended.out)["owner"]) == (0, "ann@shop.example")
    assert "No user has the address ann@shop.example" in ended.err
    environment = clean_environment(DATABASE_URL=f"sqlite:///{tmp_path}/new.db")
    user = ["users", "add", "ann@shop.example", "--role", "finance"]
    assert run_to_end(user, environment, tmp_path).code == 0
    assert create_key(tmp_path, "--owner", "ann@shop.example").err == ""
    assert create_key(tmp_path).err == ""


def test_b6_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """B6: customers and webhook secrets were in a file that everybody could read."""
    assert create_key(tmp_path).code == 0
    files = list(tmp_path.glob("new.db*"))
    assert files
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    (tmp_path / "new.db").chmod(0o644)
    assert create_key(tmp_path).code == 0
    assert (tmp_path / "new.db").stat().st_mode & 0o077 == 0


def test_a_folder_is_no_database_and_stays_open(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ended = run_to_end(["keys", "list"], clean_environment(DATABASE_URL=f"sqlite:///{tmp_path}"), tmp_path)
    assert (ended.code, "is a folder" in ended.err) == (1, True)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
