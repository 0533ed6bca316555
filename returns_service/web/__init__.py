"""The web: the JSON API and Stripe's webhook over the same operations. No decision is made in here."""
