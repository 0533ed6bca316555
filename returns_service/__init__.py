"""A self-hosted service that owns the life of a return, to money provably back at the customer."""

__version__ = "0.1.0"
