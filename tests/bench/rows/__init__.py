"""A figure a file, by its name; each has `measure(rounds, on_round)`, which returns its rows."""
