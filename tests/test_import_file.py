"""A file of open returns: what it may say, and each mistake by its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from returns_service.cli import commands
from returns_service.cli.import_file import FileFormat, Record, Wrong, format_of, read_records

HEAD = "external_id,order_id,payment_intent,currency,sku,quantity,total_amount"
RETURN: dict[str, Any] = {
    "external_id": "A-1", "order_id": "NW-1", "payment_intent": "pi_1", "currency": "eur",
    "lines": [{"sku": "HAT", "quantity": 1, "total_amount": 1000}],
}  # fmt: skip


def read(folder: Path, text: str | bytes, kind: FileFormat = "csv") -> list[Record | Wrong]:
    """Return what a file with this text says."""
    file = folder / f"open.{kind}"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_records(file, kind))


def test_rows_of_a_csv_are_the_lines_of_a_return(tmp_path: Path) -> None:
    text = "\ufeff" + "\r\n".join(
        (
            "external_id;order_id;payment_intent;currency;sku;title;quantity;total_amount;approved;refunds;tracking_numbers;"
            "metadata.shop;barcodes;resolution;customer_name",
            'A-1;NW-1;pi_1;eur;HAT;"Hat; with\r\na brim";2;2000;yes;re_1 re_2;T1 T2;berlin;4006381333931;exchange;Mia',
            ";;;;SCARF;;1;900;;;;;;;",
            "A-1;;;;GLOVE;;1;500;;;;;;;Mia",
            ";;;;;;;;;;;;;;",
            "A-2;NW-2;pi_2;eur;HAT;;1;1000;NO;;;;;;",
            ";;pi_3;;;;;;;;;;;;",
        )
    )
    first, second, alone = read(tmp_path, text)
    assert isinstance(first, Record)
    assert first.new is not None
    assert (first.line, first.new.external_id, first.new.approved, list(first.new.refunds)) == (
        2, "A-1", True, ["re_1", "re_2"],
    )  # fmt: skip
    asked = first.new.asked
    assert [(line.sku, line.quantity, line.total_amount) for line in asked.lines] == [
        ("HAT", 2, 2000), ("SCARF", 1, 900), ("GLOVE", 1, 500),
    ]  # fmt: skip
    assert asked.lines[0].title == "Hat; with\r\na brim"
    assert (asked.lines[0].resolution, list(asked.lines[0].barcodes)) == ("exchange", ["4006381333931"])
    assert (list(asked.tracking_numbers), dict(asked.metadata), asked.customer_name) == (
        ["T1", "T2"], {"shop": "berlin"}, "Mia",
    )  # fmt: skip
    assert isinstance(second, Record)
    assert second.new is not None
    assert (second.line, second.new.approved) == (7, False)
    assert isinstance(alone, Record)
    assert (alone.line, alone.new, alone.target.payment_intent) == (8, None, "pi_3")


def test_json_lines_say_the_same_as_csv(tmp_path: Path) -> None:
    times = "2026-01-02T03:04:05Z"
    (by_csv,) = read(
        tmp_path,
        f"{HEAD},received_quantity,received_condition,requested_at\nA-1,NW-1,pi_1,eur,HAT,1,1000,1,opened,{times}\n",
    )
    line = {**RETURN["lines"][0], "received_quantity": 1, "received_condition": "opened"}
    (by_json,) = read(tmp_path, json.dumps(RETURN | {"lines": [line], "requested_at": times}) + "\n\n", "jsonl")
    assert isinstance(by_csv, Record)
    assert isinstance(by_json, Record)
    assert (by_csv.new, by_csv.target) == (by_json.new, by_json.target)


ROW = "A-1,NW-1,pi_1,eur,HAT,1,1000"
Case = tuple[str | bytes, int, str]
WRONG_CSV: dict[str, Case] = {
    "an unknown column": (f"{HEAD},colour\n", 1, "there is no column 'colour'"),
    "a column twice": (f"{HEAD},sku\n", 1, "the column sku is there twice"),
    "decimals": (f"{HEAD}\n{ROW}\n,,,,SCARF,1,9.00\n", 3, "total_amount: Must be a whole number"),
    "below zero": (f"{HEAD}\nA-1,NW-1,pi_1,eur,HAT,1,-1\n", 2, "total_amount: "),
    "no order": (f"{HEAD}\nA-1,,pi_1,eur,HAT,1,1000\n", 2, "order_id: "),
    "no payment": (f"{HEAD}\nA-1,NW-1,,eur,HAT,1,1000\n", 2, "payment_intent: "),
    "no id": (f"{HEAD}\n,NW-1,pi_1,eur,HAT,1,1000\n", 2, "external_id: "),
    "an id twice": (f"{HEAD}\n{ROW}\nA-2{ROW[3:]}\n{ROW}\n", 4, "external_id: it is on line 2 already"),
    "said otherwise": (f"{HEAD}\n{ROW}\nA-1,NW-2,,,HAT,1,5\n", 3, "order_id: the first row"),
    "too many cells": (f"{HEAD}\n{ROW},x\n", 2, "8 cells, and 7 columns"),
    "no CSV": (f'{HEAD}\n"A"1,NW\n', 2, "this is no CSV"),
    "neither yes nor no": (f"{HEAD},approved\n{ROW},maybe\n", 2, "approved: "),
    "no text": (b"\xff\xfe\x00", 0, "no UTF-8 text"),
    "NUL": (f"{HEAD}\nA\0{ROW}\n", 2, "external_id: "),
}
WRONG_JSON: dict[str, Case] = {
    "no JSON": ("{", 1, "this is no JSON"),
    "no object": ("[]", 1, "this is no JSON object"),
    "deep": ("[" * 100_000, 1, "this is no JSON"),
    "empty": ("\n{}", 2, "payment_intent: "),
    "an unknown field": (json.dumps(RETURN | {"colour": 1}), 1, "colour: "),
    "a wrong line": (json.dumps(RETURN | {"lines": [{"sku": "A", "quantity": 0}]}), 1, "lines[0].quantity"),
    "truth as a number": (json.dumps(RETURN | {"approved": 1}), 1, "approved: "),
    "more counted than sent": (
        json.dumps(RETURN | {"lines": [RETURN["lines"][0] | {"received_quantity": 2}]}), 1, "received_quantity: More",
    ),
    "before computers": (json.dumps(RETURN | {"requested_at": "1969-12-31T23:59:59Z"}), 1, "requested_at: Must not"),
    "long": (" " * (1024 * 1024 + 1), 1, "longer than 1 MiB"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*WRONG_CSV, *WRONG_JSON])
def test_each_mistake_is_named_by_its_line(tmp_path: Path, name: str) -> None:
    kind: FileFormat = "csv" if name in WRONG_CSV else "jsonl"
    text, line, says = (WRONG_CSV | WRONG_JSON)[name]
    mistakes = [one for one in read(tmp_path, text, kind) if isinstance(one, Wrong)]
    assert [one.line for one in mistakes] == [line]
    assert mistakes[0].message.startswith(says) or says in mistakes[0].message


def test_a_file_with_mistakes_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    """Neither settings nor a database are needed to say so."""
    file = tmp_path / "open.csv"
    file.write_text(f"{HEAD}\n" + "\n".join(f"A-{n},NW,pi_1,eur,HAT,1,x" for n in range(60)), encoding="utf-8")
    ended = CliRunner().invoke(commands, ["import", str(file)], standalone_mode=False)
    assert isinstance(ended.exception, SystemExit)
    assert ended.exception.code == 1
    lines = ended.stderr.splitlines()
    assert lines[0].endswith("open.csv: line 2: total_amount: Must be a whole number, written as one")
    assert (len(lines), lines[-1].endswith("60 to correct; nothing was imported")) == (51, True)


@pytest.mark.parametrize("reason", ["", "  "])
def test_refunds_of_the_past_are_acknowledged_only_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    file = tmp_path / "old.jsonl"
    file.write_text("")
    with pytest.raises(SystemExit):
        commands(["import", str(file), "--acknowledge", reason], standalone_mode=False)
    assert capsys.readouterr().err == (
        "returns-service: --acknowledge: say why in words; the reason is kept in the history\n"
    )


def test_the_format_is_what_the_name_ends_in() -> None:
    names = ("a.csv", "a.JSONL", "a.ndjson", "a.txt")
    assert [format_of(Path(name)) for name in names] == ["csv", "jsonl", "jsonl", None]
