"""The words of mails: ours in each language, and the shop's own in their place."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest

from returns_service.mail_message import LEFT_OUT_WITHOUT, MailTextsError, NewMail, compose, load_texts


def test_the_shops_own_texts_take_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text('[declined]\nsubject = "No: {order}"\n', encoding="utf-8")
    texts = load_texts(tmp_path)
    assert texts["en"]["declined"]["subject"] == "No: {order}"
    assert texts["en"]["declined"]["text"] == load_texts(None)["en"]["declined"]["text"]
    values = {"shop": "S", "order": "1\r\nBcc: x@y.test", **dict.fromkeys(LEFT_OUT_WITHOUT, "")}
    mail = NewMail("declined", "en", "mia@shop.test", "<1@shop.test>", values)
    message = compose(texts, mail, "a@shop.test", "S")
    assert isinstance(message, EmailMessage)
    assert message["Bcc"] is None
    text = message.get_body(("plain",))
    assert text is not None
    assert "We say why" not in text.get_content(), "a line without its value is left out"


WRONG_TEXTS = (
    '[declined]\ntext = "{nobody}"', '[declined]\ntext = "{order.x}"', '[other]\ntext = "x"', "x",
    "[declined]\ntext = 1",
)  # fmt: skip


@pytest.mark.parametrize("toml", WRONG_TEXTS)
def test_texts_that_are_wrong_are_named_at_the_start(tmp_path: Path, toml: str) -> None:
    (tmp_path / "de.toml").write_text(toml, encoding="utf-8")
    with pytest.raises(MailTextsError, match=r"de\.toml"):
        load_texts(tmp_path)


def test_all_languages_have_all_mails() -> None:
    texts = load_texts(None)
    kinds = {kind: set(parts) for kind, parts in texts["en"].items()}
    assert all({kind: set(parts) for kind, parts in mine.items()} == kinds for mine in texts.values())
