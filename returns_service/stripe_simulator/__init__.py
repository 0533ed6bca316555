"""A stand-in for Stripe: an outsider that behaves as Stripe is documented to, for the demo and the tests.

Over HTTP, from a terminal or inside a running event loop:

    run(port=12111, webhook_url="http://127.0.0.1:8000/webhooks/stripe", webhook_secret="…")

    async with running(Ledger(time.time, Random(7))) as address:
        client = stripe.StripeClient("sk_test_…", base_addresses={"api": address}, …)

Without any I/O, on a clock and a seed of one's own, for deterministic tests:

    ledger = Ledger(clock.now, Random(7), settle_seconds=60)
    ledger.add_endpoint("http://shop.test/webhooks/stripe", secret)
    faults = Faults(Random(8))
    headers = {"authorization": "Bearer sk_test_…", "idempotency-key": "…"}
    request = Request("POST", "/v1/refunds", headers=headers, body=b"payment_intent=pi_…&amount=500")
    response = play(ledger, request, faults.strike(request.method, request.path))  # None: the connection was cut
    Dashboard(ledger).fail("re_…")                                # what happens without the API
    ledger.make_due_moves()                                       # what time brings; see ledger.next_move_at()
    for mail in ledger.due_mail():                                # post ledger.body_of(mail), signature_of(body, …)
        times = strike_mail(ledger, faults, mail)                 # 0: not now, 2: doubled
        ledger.delivered(mail)                                    # or not_delivered(mail): it comes again

All amounts are minor units, all times seconds since 1970 (UTC). Accounts, customers and Connect are not played;
`control` describes the simulator's own HTTP path for faults, moves and settings, `faults` the faults by name.

Why it knows nothing of the rest of the service: what both sides shared, both could get wrong together.
"""

from .api import Request, Response, answer, enter, leave, repair
from .control import Stats
from .dashboard import MOVES, Dashboard
from .exchange import play, signature_of, strike_mail
from .faults import CALL_FAULTS, WEBHOOK_FAULTS, Arm, Fault, Faults
from .ledger import Endpoint, Ledger, Outgoing, Settings
from .refunds import WrongMove
from .refusals import Refusal
from .server import PORT, Simulator, create_app, run, running, serve

__all__ = [
    "CALL_FAULTS", "MOVES", "PORT", "WEBHOOK_FAULTS", "Arm", "Dashboard", "Endpoint", "Fault", "Faults", "Ledger",
    "Outgoing", "Refusal", "Request", "Response", "Settings", "Simulator", "Stats", "WrongMove", "answer", "create_app",
    "enter", "leave", "play", "repair", "run", "running", "serve", "signature_of", "strike_mail",
]  # fmt: skip
