"""Figures, not tests: `python -m tests.bench [NAME…]`. Speed is a ratio of two things measured in the same run."""
