"""Figures, not tests: `python -m tests.bench executor scaleout --refunds 1500`."""
