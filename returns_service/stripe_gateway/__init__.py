"""The only room that speaks with Stripe. Out come the values of `domain.stripe_objects`, never an object of the SDK."""

from returns_service.stripe_gateway.classify import as_refused
from returns_service.stripe_gateway.client import StripeGateway
from returns_service.stripe_gateway.interface import (
    EndpointSnapshot,
    Gateway,
    InvalidSignature,
    StripeChecked,
    StripeSilent,
    livemode_of,
)
from returns_service.stripe_gateway.parse import Unreadable
from returns_service.stripe_gateway.webhooks import event_data_from_payload, read_webhook

__all__ = [
    "EndpointSnapshot",
    "Gateway",
    "InvalidSignature",
    "StripeChecked",
    "StripeGateway",
    "StripeSilent",
    "Unreadable",
    "as_refused",
    "event_data_from_payload",
    "livemode_of",
    "read_webhook",
]
