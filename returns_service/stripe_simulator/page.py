"""The page for people at `/_control/`: payments and refunds, with a button for each move that is open now."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape

from .collection import Json
from .currencies import format_amount
from .dashboard import Dashboard
from .faults import Faults
from .ledger import Ledger

SHOWN = 50  # payments, newest first

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1a1a2e }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #ddd }
td.amount { text-align: right; white-space: nowrap }
tr.payment { background: #f4f5fa }
form { display: inline } input { width: 6rem } code { font-size: .85em }
p[role=status] { background: #fff6d6; padding: .5rem .8rem }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def render_page(ledger: Ledger, faults: Faults, message: str) -> str:
    """Return the page; `message` is the outcome of the last button."""
    dashboard = Dashboard(ledger)
    rows: list[str] = []
    for intent in list(ledger.payment_intents.newest_first())[:SHOWN]:
        rows.append(_render_payment(ledger, dashboard, intent))
        for charge in ledger.charges_of.get(intent["id"], []):
            rows += [_render_part(dashboard, ledger.refunds[name]) for name in ledger.refunds_of.get(charge, [])]
            rows += [_render_part(dashboard, ledger.disputes[name]) for name in ledger.disputes_of.get(charge, [])]
    status = f'<p role="status">{escape(message)}</p>' if message else ""
    armed = ", ".join(fault.name for fault in faults.armed_faults) or "no"
    body = "\n".join(rows) or '<tr><td colspan="6">No payments yet.</td></tr>'
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Stripe simulator</title><style>{_STYLE}</style></head>
<body><h1>Stripe simulator</h1>{status}
<p>{len(ledger.payment_intents)} payments, {len(ledger.refunds)} refunds, {len(ledger.events)} events,
{len(ledger.outbox)} webhooks to deliver; {escape(armed)} faults armed.</p>
{_render_unfinished(ledger)}
<table><thead><tr><th scope="col">What</th><th scope="col">Amount</th><th scope="col">Status</th>
<th scope="col">Made (UTC)</th><th scope="col">Metadata</th><th scope="col">Moves</th></tr></thead>
<tbody>
{body}
</tbody></table></body></html>
"""


def _render_payment(ledger: Ledger, dashboard: Dashboard, intent: Json) -> str:
    charge = ledger.charges.get(intent["latest_charge"] or "")
    moves = dashboard.open_moves(intent) + (dashboard.open_moves(charge) if charge is not None else [])
    refunded = charge["amount_refunded"] if charge is not None else 0
    state = intent["status"]
    if refunded:
        state += f", {format_amount(refunded, intent['currency'])} refunded"
    return _render_row(intent, "payment", state, moves)


def _render_part(dashboard: Dashboard, row: Json) -> str:
    reason = row.get("failure_reason") or row.get("pending_reason")
    state = f"{row['status']} ({reason})" if reason else row["status"]
    is_closed = row["object"] == "dispute" and row["status"] in ("won", "lost")
    return _render_row(row, "part", state, ["overturn"] if is_closed else dashboard.open_moves(row))


def _render_row(row: Json, kind: str, state: str, moves: list[str]) -> str:
    created = datetime.fromtimestamp(row["created"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    buttons = "".join(_render_button(row["id"], move) for move in moves)
    facts = ", ".join(f"{name}={value}" for name, value in row["metadata"].items())
    return (
        f'<tr class="{kind}"><td>{escape(row["object"].replace("_", " "))} <code>{escape(row["id"])}</code></td>'
        f'<td class="amount">{escape(format_amount(row["amount"], row["currency"]))}</td><td>{escape(state)}</td>'
        f"<td>{created}</td><td>{escape(facts)}</td><td>{buttons}</td></tr>"
    )


def _render_button(name: str, move: str) -> str:
    amount, words = "", move.replace("_", " ")
    if move in ("refund", "capture"):
        amount = (
            f'<input name="amount" inputmode="numeric" pattern="[0-9]*" placeholder="minor units" '
            f'aria-label="amount to {move} of {escape(name)}, in minor units; empty: all"> '
        )
    return (
        f'<form method="post" action="/_control/moves"><input type="hidden" name="move" value="{escape(move)}">'
        f'<input type="hidden" name="id" value="{escape(name)}">{amount}'
        f'<button aria-label="{escape(words)} {escape(name)}">{escape(words)}</button></form> '
    )


def _render_unfinished(ledger: Ledger) -> str:
    """Return the requests that got a stored 500 and can be repaired."""
    if not ledger.unfinished:
        return ""
    lines = "".join(f"<li><code>{escape(key)}</code> {_render_button(key, 'repair')}</li>" for key in ledger.unfinished)
    return f"<p>Got a stored 500 and had no effect:</p><ul>{lines}</ul>"
