"""The staff pages, over HTTP and in a real browser."""
