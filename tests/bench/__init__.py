"""Figures, not tests: `python -m tests.bench executor --workers 1 --refunds 1500`."""
