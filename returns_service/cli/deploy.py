"""The command that prints files to run the service with."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from returns_service.cli.output import json_option, stop
from returns_service.deploy import KINDS, deploy_files
from returns_service.domain.vocabulary import find_word


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", required=False)
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), help="Write the files there.")
@json_option
def deploy(kind: str, name: str | None, folder: Path | None, as_json: bool) -> None:
    """Print files to run the service with: units, images, a proxy, alerts, a dashboard; NAME: that file alone.

    Existing files are left as they are. Values that you have to set say CHANGE_ME, or returns.example.com.

    Example: returns-service deploy systemd --to deploy
    """
    known = find_word(KINDS, kind)
    found = deploy_files(known) if known else {}
    if name is not None:
        if name not in found:
            stop(f"{name}: there is no such file. Those of {kind} are {', '.join(found)}")
        found = {name: found[name]}
    if folder is not None:
        write_files(folder, found)
    elif as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        for file, text in found.items():
            click.echo(f"# ---- {file} ----\n{text}" if len(found) > 1 else text, nl=False)


def write_files(folder: Path, found: dict[str, str]) -> None:
    """Write files that are not there yet, for their owner alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in found.items():
        path = folder / name
        try:
            with path.open("x", encoding="utf-8") as file:
                path.chmod(0o600 if name.endswith(".env") else 0o644)
                file.write(text)
        except FileExistsError:
            click.echo(f"{path} is there already and was left as it is.", err=True)
        else:
            click.echo(path)
