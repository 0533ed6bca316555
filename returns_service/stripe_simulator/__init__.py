"""A stand-in for Stripe for the demo and the tests: an outsider that behaves as docs.stripe.com says.

Over HTTP, from a terminal or inside a running event loop:

    run(port=12111, webhook_url="http://127.0.0.1:8000/webhooks/stripe", webhook_secret="…")

    async with running(Ledger(time.time, Random(7))) as address:
        client = stripe.StripeClient("sk_test_…", base_addresses={"api": address}, …)

Without any I/O, on a clock and a seed of the test's own:

    ledger = Ledger(clock.now, Random(7), settle_seconds=60)
    ledger.add_endpoint("http://shop.test/webhooks/stripe", secret)
    faults = Faults(Random(8))
    headers = {"authorization": "Bearer sk_test_…", "idempotency-key": "…"}
    request = Request("POST", "/v1/refunds", headers=headers, body=b"payment_intent=pi_…&amount=500")
    fault = faults.draw_fault(request.method, request.path)
    response = answer_with_fault(ledger, request, fault)       # None: the connection was cut
    Dashboard(ledger).fail("re_…")                             # a move that nobody makes through the API
    ledger.make_due_moves()                                    # the moves that time brings; see ledger.next_move_at()
    for webhook in ledger.due_webhooks():                      # post ledger.body_of(webhook), signature_of(body, …)
        times = draw_webhook_fault(ledger, faults, webhook)    # 0: not now, 2: twice
        ledger.mark_delivered(webhook)                         # or mark_failed(webhook): the next attempt comes later

How to get the rarer things:

    a partial capture of before 2025-03-31   capture with `Stripe-Version: 2025-02-24.acacia`, or
                                             Dashboard.capture("pi_…", 6000, api_version="2025-02-24.acacia")
    a capture in parts                       capture with final_capture=false; create with
                                             payment_method_options[card][request_multicapture]=if_available
    a canceled authorization                 POST …/cancel, Dashboard.cancel_payment or .expire_authorization
    a dispute that turns                     Dashboard.win or .lose, then .overturn("du_…")
    another method than a card               payment_method=pm_sepa_debit, pm_us_bank_account, pm_ideal, pm_oxxo, …
    a debit that is processing               the former two; Dashboard.settle_payment, .fail_payment, or wait
    a customer who must authenticate         pm_card_threeDSecure2Required; Dashboard.authenticate
    a restricted, expired or unknown key     ledger.api_keys["rk_test_…"] = build_key(["rak_charge_read"], "active")
    an endpoint of an older version          ledger.add_endpoint(url, secret, api_version="2020-08-27")
    a clock that is wrong                    ledger.settings.clock_skew_seconds

All amounts are minor units, all times seconds since 1970 (UTC). Connect is out of scope. `control` describes the
simulator's own HTTP path for faults, moves, keys and settings; `faults` describes the faults by name; `methods` lists
the payment methods.

The simulator imports nothing of the rest of the service: a mistake in shared code would hide from the tests.
"""

from .api import Request, Response, answer, enter, leave, repair
from .api_keys import PERMISSIONS, ApiKey, build_key
from .control import Stats
from .dashboard import MOVES, Dashboard
from .faults import CALL_FAULTS, WEBHOOK_FAULTS, ArmedFault, Fault, Faults
from .inject import answer_with_fault, draw_webhook_fault, signature_of
from .ledger import Endpoint, Ledger, OutgoingWebhook
from .refunds import WrongMove
from .refusals import Refusal
from .server import PORT, Simulator, create_app, run, running, serve
from .settings import Settings

__all__ = [
    "CALL_FAULTS", "MOVES", "PERMISSIONS", "PORT", "WEBHOOK_FAULTS", "ApiKey", "ArmedFault", "Dashboard", "Endpoint",
    "Fault", "Faults", "Ledger", "OutgoingWebhook", "Refusal", "Request", "Response", "Settings", "Simulator", "Stats",
    "WrongMove", "answer", "answer_with_fault", "build_key", "create_app", "draw_webhook_fault", "enter", "leave",
    "repair", "run", "running", "serve", "signature_of",
]  # fmt: skip
