"""The HTTP API: parse, one transaction, one command, answer. No decisions are made in here."""
