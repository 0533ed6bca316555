"""The deterministic world: the real service, a virtual clock, and everything that can go wrong, in any order."""
