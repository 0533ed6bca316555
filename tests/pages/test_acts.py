"""Whatever a role may do through the API, its person can do on the pages."""

from __future__ import annotations

from returns_service.domain.return_machine import PUBLIC
from returns_service.web.pages.rendering import isolate
from returns_service.web.pages.routes import FORMS, PAGES
from returns_service.web.routes import OPERATIONS

# What people do on a page of its own, not by a declared form.
ON_PAGES = {
    "create_receipt": "/receive/{return_id:str}/counts", "create_unmatched_receipt": "/parcels",
    "create_webhook_endpoint": "/settings/webhooks", "update_webhook_endpoint": "/settings/webhooks/{endpoint_id:str}",
    "delete_webhook_endpoint": "/settings/webhooks/{endpoint_id:str}",
    "rotate_webhook_secret": "/settings/webhooks/{endpoint_id:str}",
    "test_webhook_endpoint": "/settings/webhooks/{endpoint_id:str}",
    "retry_one_delivery": "/settings/deliveries/{delivery_id:str}/redeliver",
}  # fmt: skip
# What only a shop's program can know: an order's lines and amounts, its own note.
BY_PROGRAMS = {"create_return", "create_returns", "update_return", "create_portal_session"}


def test_each_allowed_act_has_a_form() -> None:
    by_form = {form.operation.name for form in FORMS}
    for operation in OPERATIONS:
        if operation.method == "GET" or operation.name in BY_PROGRAMS:
            continue
        assert operation.name in by_form or operation.name in ON_PAGES, f"{operation.name} has no form"
        if operation.name in ON_PAGES:
            scopes = {page.scope for page in PAGES if (page.method, page.path) == ("POST", ON_PAGES[operation.name])}
            assert scopes == {operation.scope}, operation.name
    assert all(form.page.scope == form.operation.scope for form in FORMS)


def test_each_trigger_of_people_has_a_form() -> None:
    assert set(PUBLIC) - {"receive"} <= {form.name for form in FORMS}


def test_a_form_asks_for_nothing_that_its_operation_does_not_take() -> None:
    for form in FORMS:
        if form.build is not None or form.operation.body is None:
            continue
        taken = {field.alias or name for name, field in form.operation.body.model_fields.items()}
        assert {field.name for field in form.fields} - {"currency", "if_match"} <= taken, form.name


def test_an_order_that_runs_from_right_to_left_turns_no_amount_around() -> None:
    assert isolate("NW-1") == "NW-1"
    assert isolate("NW-\u202e1") == "\u2068NW-\u202e1\u2069"
