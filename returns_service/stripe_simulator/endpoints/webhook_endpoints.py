"""`/v1/webhook_endpoints` (docs.stripe.com/api/webhook_endpoints)."""

from __future__ import annotations

from .. import objects
from ..collection import Collection, Json
from ..form import Params, merge_metadata
from ..ledger import Endpoint, Ledger
from ..refusals import not_found_error, param_error
from ..versions import check_version
from .route import PAGE, Perform, Route


def create(ledger: Ledger, params: Params, _: str) -> Perform:
    """`POST /v1/webhook_endpoints`; only this answer shows the secret."""
    url, event_types = params.require_text("url"), params.get_texts("enabled_events")
    version = params.get_text("api_version")
    _check_url(url)
    if not event_types:
        raise param_error("Missing required param: enabled_events.", "enabled_events", "parameter_missing")
    if version is not None:
        check_version(version)
    description, metadata = params.get_text("description"), merge_metadata({}, params.get_metadata())

    def perform() -> Json:
        endpoint = ledger.add_endpoint(
            url, None, event_types, api_version=version, description=description, metadata=metadata
        )
        return {**endpoint.row, "secret": endpoint.secret}

    return perform


def update(ledger: Ledger, params: Params, name: str) -> Perform:
    """`POST /v1/webhook_endpoints/{id}`."""
    url, event_types = params.get_text("url"), params.get_texts("enabled_events")
    disabled = params.get_boolean("disabled")
    description, metadata = params.get_text("description"), params.get_metadata()
    if url is not None:
        _check_url(url)
    changes: Json = {"url": url, "enabled_events": event_types or None, "description": description}
    if disabled is not None:
        changes["status"] = "disabled" if disabled else "enabled"

    def perform() -> Json:
        endpoint = _find_endpoint(ledger, name)
        endpoint.is_trusted = endpoint.is_trusted and url in (None, endpoint.row["url"])
        row = endpoint.row
        row.update({field: value for field, value in changes.items() if value is not None})
        row["metadata"] = merge_metadata(row["metadata"], metadata)
        return row

    return perform


def delete(ledger: Ledger, params: Params, name: str) -> Perform:
    """`DELETE /v1/webhook_endpoints/{id}`; its undelivered webhooks are lost."""

    def perform() -> Json:
        endpoint = _find_endpoint(ledger, name)
        del ledger.endpoints[name]
        for webhook in [one for one in ledger.outbox if one.endpoint is endpoint]:
            ledger.lose(webhook)
        return {"id": name, "object": "webhook_endpoint", "deleted": True}

    return perform


def read(ledger: Ledger, params: Params, name: str) -> Perform:
    """`GET /v1/webhook_endpoints/{id}`."""
    return lambda: _find_endpoint(ledger, name).row


def list_endpoints(ledger: Ledger, params: Params, _: str) -> Perform:
    """`GET /v1/webhook_endpoints`."""
    collection = Collection("webhook_endpoint")
    for endpoint in ledger.endpoints.values():
        collection.add(endpoint.row)
    cursor = params.get_cursor(collection)
    return lambda: objects.build_list("/v1/webhook_endpoints", *collection.get_page(cursor))


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise param_error("Invalid URL: An explicit scheme (such as https) must be provided.", "url", "url_invalid")


def _find_endpoint(ledger: Ledger, name: str) -> Endpoint:
    if name not in ledger.endpoints:
        raise not_found_error("webhook endpoint", name)
    return ledger.endpoints[name]


_URL, _KIND = "/v1/webhook_endpoints", "webhook_endpoint"

ROUTES = (
    Route("POST", _URL, _KIND, create, ["url", "enabled_events", "api_version", "description", "metadata"]),
    Route("GET", _URL, _KIND, list_endpoints, PAGE, is_list=True),
    Route("GET", f"{_URL}/{{id}}", _KIND, read),
    Route("POST", f"{_URL}/{{id}}", _KIND, update, ["url", "enabled_events", "disabled", "description", "metadata"]),
    Route("DELETE", f"{_URL}/{{id}}", _KIND, delete),
)
