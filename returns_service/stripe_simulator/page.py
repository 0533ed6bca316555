"""The page for people at `/_control/`: payments and refunds, with a button for each move they can make now."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape

from .cards import words_for
from .dashboard import Dashboard
from .faults import Faults
from .ledger import Ledger
from .shelf import Json

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


def rendered(ledger: Ledger, faults: Faults, said: str) -> str:
    """Return the page; `said` is what the last button's move came to."""
    dashboard = Dashboard(ledger)
    rows: list[str] = []
    for intent in list(ledger.payment_intents.newest_first())[:SHOWN]:
        rows.append(_payment(ledger, dashboard, intent))
        for charge in ledger.charges_of.get(intent["id"], []):
            rows += [_part(dashboard, ledger.refunds[name]) for name in ledger.refunds_of.get(charge, [])]
            rows += [_part(dashboard, ledger.disputes[name]) for name in ledger.disputes_of.get(charge, [])]
    status = f'<p role="status">{escape(said)}</p>' if said else ""
    armed = ", ".join(arm.name for arm in faults.arms) or "no"
    body = "\n".join(rows) or '<tr><td colspan="6">No payments yet.</td></tr>'
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Stripe simulator</title><style>{_STYLE}</style></head>
<body><h1>Stripe simulator</h1>{status}
<p>{len(ledger.payment_intents)} payments, {len(ledger.refunds)} refunds, {len(ledger.events)} events,
{len(ledger.mailbox)} webhooks to deliver; {escape(armed)} faults armed.</p>
{_waiting(ledger)}
<table><thead><tr><th scope="col">What</th><th scope="col">Amount</th><th scope="col">Status</th>
<th scope="col">Made (UTC)</th><th scope="col">Metadata</th><th scope="col">Moves</th></tr></thead>
<tbody>
{body}
</tbody></table></body></html>
"""


def _payment(ledger: Ledger, dashboard: Dashboard, intent: Json) -> str:
    charge = ledger.charges.get(intent["latest_charge"] or "")
    moves = dashboard.open_moves(charge) if charge is not None else []
    refunded = charge["amount_refunded"] if charge is not None else 0
    state = intent["status"]
    if refunded:
        state += f", {words_for(refunded, intent['currency'])} refunded"
    return _line(intent, "payment", state, moves)


def _part(dashboard: Dashboard, row: Json) -> str:
    reason = row.get("failure_reason") or row.get("pending_reason")
    return _line(row, "part", f"{row['status']} ({reason})" if reason else row["status"], dashboard.open_moves(row))


def _line(row: Json, kind: str, state: str, moves: list[str]) -> str:
    made = datetime.fromtimestamp(row["created"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    facts = ", ".join(f"{name}={value}" for name, value in row["metadata"].items())
    return (
        f'<tr class="{kind}"><td>{escape(row["object"].replace("_", " "))} <code>{escape(row["id"])}</code></td>'
        f'<td class="amount">{escape(words_for(row["amount"], row["currency"]))}</td><td>{escape(state)}</td>'
        f"<td>{made}</td><td>{escape(facts)}</td><td>{''.join(_button(row['id'], move) for move in moves)}</td></tr>"
    )


def _button(name: str, move: str) -> str:
    amount, words = "", move.replace("_", " ")
    if move == "refund":
        amount = (
            f'<input name="amount" inputmode="numeric" pattern="[0-9]*" placeholder="minor units" '
            f'aria-label="amount to refund of {escape(name)}, in minor units; empty: all"> '
        )
    return (
        f'<form method="post" action="/_control/moves"><input type="hidden" name="move" value="{escape(move)}">'
        f'<input type="hidden" name="id" value="{escape(name)}">{amount}'
        f'<button aria-label="{escape(words)} {escape(name)}">{escape(words)}</button></form> '
    )


def _waiting(ledger: Ledger) -> str:
    """Requests that were answered with a stored 500 and can be repaired."""
    if not ledger.unfinished:
        return ""
    lines = "".join(f"<li><code>{escape(key)}</code> {_button(key, 'repair')}</li>" for key in ledger.unfinished)
    return f"<p>Answered 500, not done:</p><ul>{lines}</ul>"
