"""The files to run the service with: they parse, and what they name of ours exists."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import rich_click as click
import yaml
from click.testing import CliRunner
from prometheus_client.core import Metric

from returns_service import settings
from returns_service.cli import commands
from returns_service.deploy import KINDS, deploy_files
from returns_service.deploy.alerts import ALERTS
from returns_service.deploy.dashboard import COLUMNS, PANELS
from returns_service.web.metrics import Metrics

ROOT = Path(__file__).parent.parent
FILES = {name: text for kind in KINDS for name, text in deploy_files(kind).items()}
UNITS = {name: text for name, text in FILES.items() if name.endswith(".service")}
SETTINGS = re.compile(r"\b(?:RETURNS_[A-Z_]+|STRIPE_[A-Z_]+|DATABASE_URL|OTEL_[A-Z_]+)\b")
OF_A_SHELL = {"PYTHONDONTWRITEBYTECODE", "POSTGRES_PASSWORD"}
PHOTOS_AT_ONCE, LARGEST_PHOTO_MIB = 2, 450  # while they are decoded
ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


def unit(text: str) -> configparser.ConfigParser:
    """Return a unit as sections; a directive may stand there twice."""
    parsed = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(text)
    return parsed


def manifests() -> list[dict[str, Any]]:
    """Return what is made on Kubernetes."""
    return list(yaml.safe_load_all(FILES["returns-service.yaml"]))


def compose() -> dict[str, Any]:
    """Return the services of Docker's compose file, by name."""
    services: dict[str, Any] = yaml.safe_load(FILES["compose.yaml"])["services"]
    return services


def command_lines() -> Iterator[list[str]]:
    """Yield every command of ours that a file runs."""
    for text in UNITS.values():
        yield shlex.split(unit(text)["Service"]["ExecStart"])[1:]
    for name in ("migrate", "web", "worker"):
        yield compose()[name]["command"]
    for one in manifests():
        if one["kind"] in ("Job", "Deployment"):
            for container in one["spec"]["template"]["spec"]["containers"]:
                yield container["args"]
    (command,) = re.findall(r"^CMD (\[.*\])$", FILES["Dockerfile"], flags=re.MULTILINE)
    yield json.loads(command)


def families() -> dict[str, Metric]:
    """Return what `/metrics` shows, by the names that PromQL selects."""
    figures = Metrics()
    figures.follow({("asked", "queued"): 1})
    shown = [*figures.own.collect(), *figures.registry.collect(), *figures.counts.collect()]
    return {f"{family.name}{ending}": family for family in shown for ending in ENDINGS[family.type]}


def test_every_command_in_a_file_is_one_of_ours() -> None:
    lines = list(command_lines())
    assert {words[0] for words in lines} == {"migrate", "serve", "worker"}
    for words in lines:
        commands.commands[words[0]].make_context(words[0], list(words[1:]))


def test_every_setting_in_a_file_exists() -> None:
    known = {setting.name for setting in settings.describe_settings()} | OF_A_SHELL
    for name, text in FILES.items():
        assert set(SETTINGS.findall(text)) <= known, name


@pytest.mark.parametrize("kind", ["systemd", "docker"])
def test_the_environment_is_one_that_the_service_takes(
    kind: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = deploy_files(kind)["returns-service.env"].splitlines()
    for name, _, value in (line.partition("=") for line in lines if line and not line.startswith("#")):
        monkeypatch.setenv(name, value)
    taken = settings.load()
    taken.require_stripe()
    assert (taken.public_url, taken.livemode) == ("https://returns.example.com", False)


def test_units_wait_for_the_schema_and_may_do_little() -> None:
    assert len(UNITS) == 3
    migrate = shlex.split(unit(UNITS["returns-service-migrate.service"])["Service"]["ExecStart"])
    assert "--wait" in migrate, "what requires a unit that failed never starts"
    for name, text in UNITS.items():
        sections = unit(text)
        service = sections["Service"]
        for directive in ("NoNewPrivileges", "DynamicUser", "PrivateTmp", "ProtectHome", "MemoryDenyWriteExecute"):
            assert service[directive] == "yes", name
        assert service["ProtectSystem"] == "strict"
        if "migrate" not in name:
            assert "returns-service-migrate.service" in sections["Unit"]["Requires"]
            assert float(service["TimeoutStopSec"]) > settings.Settings.model_fields["shutdown_seconds"].default
            assert sections["Install"]["WantedBy"] == "multi-user.target"


def test_containers_wait_for_the_schema_and_may_do_little() -> None:
    services = compose()
    assert "--host" in services["postgres"]["healthcheck"]["test"][1], "its socket answers before it has been made"
    for name in ("migrate", "web", "worker"):
        assert (services[name]["read_only"], services[name]["cap_drop"]) == (True, ["ALL"])
    for name in ("web", "worker"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert {one["logging"]["options"]["max-size"] for one in services.values()} == {"20m"}, "or logs fill the disk"
    volumes = {volume for one in services.values() for volume in one.get("volumes", [])}
    assert "./nginx.conf:/etc/nginx/conf.d/default.conf:ro" in volumes
    (network,) = yaml.safe_load(FILES["compose.yaml"])["networks"]["default"]["ipam"]["config"]
    assert f"RETURNS_TRUSTED_PROXIES={network['subnet']}" in deploy_files("docker")["returns-service.env"]


def test_kubernetes_gets_a_job_webs_and_workers_that_may_do_little() -> None:
    made = manifests()
    assert all({"apiVersion", "kind", "metadata"} <= one.keys() for one in made)
    assert [one["kind"] for one in made].count("Deployment") == 2
    for one in made:
        if one["kind"] not in ("Job", "Deployment"):
            continue
        pod = one["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert {next(iter(source)) for source in container["envFrom"]} == {"configMapRef", "secretRef"}
        if one["kind"] == "Deployment":
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]
    (web,) = [one for one in made if one["kind"] == "Deployment" and one["metadata"]["name"].endswith("web")]
    probes = web["spec"]["template"]["spec"]["containers"][0]
    memory = int(probes["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert memory > PHOTOS_AT_ONCE * LARGEST_PHOTO_MIB + 200, "else a customer's upload ends the process"
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"


@pytest.mark.parametrize("name", ["returns-service.conf", "nginx.conf"])
def test_the_proxy_tells_who_calls_and_keeps_the_figures_to_itself(name: str) -> None:
    text = "\n".join(line.partition("#")[0] for line in FILES[name].splitlines())
    assert text.count("{") == text.count("}")
    assert all(line.rstrip().endswith((";", "{", "}")) for line in text.splitlines() if line.strip())
    directives = [line.strip().rstrip(";") for line in text.splitlines()]
    assert "proxy_set_header X-Forwarded-For $remote_addr" in directives
    assert "proxy_set_header X-Forwarded-Proto $scheme" in directives
    assert re.search(r"location /metrics \{\s+return 404;", text), "the service answers at /metrics/, too"
    (kept,) = re.findall(r"keepalive_timeout (\d+)s", text)
    assert ("server web:8000 resolve" in directives) == (name == "nginx.conf"), "Docker gives a new web a new address"
    assert int(kept) < settings.Settings.model_fields["idle_seconds"].default


def test_alerts_are_about_figures_that_are_shown() -> None:
    known = families()
    rules = yaml.safe_load(FILES["returns-service-alerts.yaml"])["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [f"Returns{alert.name}" for alert in ALERTS]
    for rule in rules:
        (figure,) = re.findall(r"returns_\w+", rule["expr"])
        assert figure in known
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["annotations"]["summary"]
    expressions = {rule["alert"]: (rule["expr"], rule.get("for")) for rule in rules}
    assert expressions["ReturnsDatabaseDown"] == ("min(returns_database_up) == 0", "60s")
    assert expressions["ReturnsNobodyAnswers"] == ("absent(returns_database_up)", "300s")
    assert expressions["ReturnsStripeSilent"] == ("max(returns_stripe_failures_in_a_row) >= 10", None)


def test_a_count_that_only_grows_is_no_gauge() -> None:
    known = families()
    for alert in ALERTS:
        figure = alert.figure.partition("{")[0]
        assert (known[figure].type == "counter") == alert.counts, alert.name


def test_the_dashboard_shows_figures_that_are_there() -> None:
    known = families()
    shown = json.loads(FILES["returns-service-dashboard.json"])
    assert [panel["title"] for panel in shown["panels"]] == [panel.title for panel in PANELS]
    assert len({panel["id"] for panel in shown["panels"]}) == len(PANELS)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in shown["panels"]}
    assert len(places) == len(PANELS)
    assert all(x + 24 // COLUMNS <= 24 for x, _ in places)
    (source,) = shown["templating"]["list"]
    for panel in shown["panels"]:
        assert panel["datasource"]["uid"] == f"${{{source['name']}}}"
        for target in panel["targets"]:
            figures = re.findall(r"returns_\w+", target["expr"])
            assert figures, target
            assert set(figures) <= known.keys()
            assert target["expr"].count("(") == target["expr"].count(")")


def test_every_file_is_in_the_package() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    for path in (ROOT / "returns_service/deploy/files").iterdir():
        assert any(fnmatchcase(path.name, pattern) for pattern in patterns), path


def test_an_image_has_every_extra_that_a_setting_asks_for() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r"'\.\[(.*)\]'", FILES["Dockerfile"])
    assert set(installed.split(",")) == extras.keys() - {"dev"}


def test_an_image_runs_as_nobody_in_particular_and_keeps_what_it_depends_on_as_a_layer() -> None:
    lines = FILES["Dockerfile"].splitlines()
    assert "USER 10001:10001" in lines, "the owner of a volume, by numbers, as Kubernetes wants them"
    first, everything = lines.index("COPY pyproject.toml .ci/constraints.txt ./"), lines.index("COPY . .")
    assert first < next(i for i, line in enumerate(lines) if "-c constraints.txt" in line) < everything


def test_the_command_prints_or_writes_them(tmp_path: Path) -> None:
    def invoke(*words: str) -> Any:
        return CliRunner().invoke(commands, ["deploy", *words], standalone_mode=False)

    assert invoke("nginx").stdout == FILES["returns-service.conf"]
    assert invoke("systemd", "returns-service-web.service").stdout == UNITS["returns-service-web.service"]
    assert "# ---- Dockerfile ----\n" in invoke("docker").stdout
    assert json.loads(invoke("grafana", "--json").stdout) == deploy_files("grafana")
    assert invoke("grafana", "nothing.json").exit_code == 1
    (tmp_path / "Dockerfile").write_text("mine")
    told = invoke("docker", "--to", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == set(deploy_files("docker"))
    assert (tmp_path / "Dockerfile").read_text() == "mine"
    assert "left as it is" in told.stderr or "left as it was" in told.stderr
    assert (tmp_path / "returns-service.env").stat().st_mode & 0o077 == 0
    assert isinstance(invoke("windows").exception, click.BadParameter)
