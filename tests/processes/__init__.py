"""Real processes over real sockets, killed for real."""
