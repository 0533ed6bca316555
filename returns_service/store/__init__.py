"""The database: tables whose constraints are the law, and the ways to read and lock them."""
