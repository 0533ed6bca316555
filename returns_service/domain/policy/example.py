"""The policy's file with every setting, its default and what it is for."""

from __future__ import annotations

from returns_service.domain.policy.shapes import DEFAULT

_SETTINGS = """\
# The return policy. Every setting stands here with its default; what is left out has it too.
# Amounts are whole numbers of minor units (cents; yen for JPY) in tables by currency: {usd = 5000, eur = 4500}

# Days in which a customer may ask for a return, to the end of the last day. A return without the date is never
# approved by itself; one outside the window needs an approver's override. 0: every return does.
window_days = 30

# Where the window begins: "purchase" (`purchased_at`) or "delivery" (`delivered_at`).
window_from = "purchase"

# The time zone whose days are counted, like "Europe/Berlin".
time_zone = "UTC"

# What a refund that somebody made in the Stripe Dashboard does to the payment's other refunds: "hold" them until a
# person assigns or acknowledges it, or "ignore".
external_refunds = "hold"

# When money moves by itself: "approval" (before anything came back), "receipt" (for what the dock accepted)
# or "manual" (never: people press Refund).
refund_on = "receipt"

# Seconds between the dock's count and its refund: time to notice a miscount.
refund_delay = 0

# What the dock accepts: "new", "opened", "damaged".
accepted_conditions = ["new", "opened", "damaged"]

# What can't be returned, as shell patterns without regard to capitals: ["GIFT-CARD*"]
excluded_skus = []

# Whether what was paid for shipping goes back: "never", "full_return" (with the last unit) or "always".
shipping_refunded = "never"

# Returns worth less approve themselves. A currency that isn't listed never does.
auto_approve_below = {}

# Returns worth more need two people. Once one currency is listed, those that aren't always need two.
second_person_above = {}

# What a return label costs the customer: taken off once, with the first accepted unit.
label_cost = {}

# The share of a day's charges that may be refunded before an alert, from 0 to 1.
refund_rate_alert = 0.1

# The restocking fee by condition: `basis_points` (hundredths of a percent) of the units' worth,
# and `fixed` minor units a unit, by currency.
[restocking.opened]
basis_points = 0
fixed = {}

# Why customers return things. A catalogue here stands in place of the whole default one.
# `label`: what customers see. `stripe`: "requested_by_customer", "duplicate", or "fraudulent", which makes Stripe
# block the card. `restocking = false` waives the fee.
"""


def example() -> str:
    """Return a commented policy, as TOML, that says what the default policy says."""
    reasons = [
        f'[reasons.{name}]\nlabel = "{reason.label}"\nstripe = "{reason.stripe}"\n'
        f"restocking = {str(reason.restocking).lower()}\n"
        for name, reason in DEFAULT.reasons.items()
    ]
    return _SETTINGS + "\n".join(reasons)
