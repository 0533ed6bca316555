"""What can be done, declared once: path, scope, body, what Stripe is asked before, the work in the transaction."""
