"""Claims about the pure rules: no I/O, under five seconds."""
