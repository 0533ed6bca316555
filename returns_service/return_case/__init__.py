"""One return as a whole: everything that decides about it, read once, and how it is shown."""
