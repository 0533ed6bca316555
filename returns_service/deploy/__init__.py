"""Files to run the service with, out of the package: units, images, a proxy, alerts and a dashboard.

Each file is ready as it is printed, but for an operator's own names, passwords and addresses: CHANGE_ME marks them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Literal, get_args

import jinja2

from returns_service.deploy.alerts import prometheus_rules
from returns_service.deploy.dashboard import grafana_dashboard

Kind = Literal["systemd", "docker", "kubernetes", "nginx", "prometheus", "grafana"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Write = Callable[[], str]


def deploy_files(kind: Kind) -> dict[str, str]:
    """Return the files of a kind of deployment by name, in the order in which they are needed."""
    return {name: write() for name, write in _FILES[kind].items()}


def _template(name: str, **values: str) -> Write:
    """Return what writes a file of the package, its `{{ … }}` filled in."""

    def write() -> str:
        templates = jinja2.Environment(
            loader=jinja2.PackageLoader(__name__, "files"),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            autoescape=jinja2.select_autoescape(),
        )
        return templates.get_template(name).render(version=version("returns-service"), **values)

    return write


_ON_THIS_MACHINE = {"upstream": "127.0.0.1:8000", "resolver": "", "certificates": "/etc/ssl/returns"}
_IN_COMPOSE = {"upstream": "web:8000", "resolver": "127.0.0.11", "certificates": "/etc/nginx/tls"}  # Docker's own
_COMPOSE_NETWORK = {"trusted_proxies": "172.30.57.0/24"}
_DATABASE = "postgresql://returns:CHANGE_ME@{}/returns"
_ENVIRONMENT = "returns-service.env"
_FILES: dict[Kind, dict[str, Write]] = {
    "systemd": {
        _ENVIRONMENT: _template(
            "environment.env", database_url=_DATABASE.format("localhost"), trusted_proxies="127.0.0.1"
        ),
        "returns-service-migrate.service": _template("migrate.service"),
        "returns-service-web.service": _template("web.service"),
        "returns-service-worker@.service": _template("worker.service"),
    },
    "docker": {
        _ENVIRONMENT: _template("environment.env", database_url=_DATABASE.format("postgres"), **_COMPOSE_NETWORK),
        "Dockerfile": _template("Dockerfile"),
        ".dockerignore": _template("ignored_by_docker.conf"),
        "compose.yaml": _template("compose.yaml", **_COMPOSE_NETWORK),
        "nginx.conf": _template("nginx.conf", **_IN_COMPOSE),
    },
    "kubernetes": {"returns-service.yaml": _template("kubernetes.yaml")},
    "nginx": {"returns-service.conf": _template("nginx.conf", **_ON_THIS_MACHINE)},
    "prometheus": {
        "returns-service-alerts.yaml": prometheus_rules,
        "prometheus.yaml": _template("prometheus.yaml"),
    },
    "grafana": {"returns-service-dashboard.json": grafana_dashboard},
}
