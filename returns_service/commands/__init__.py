"""Commands: a verb a function. Each locks, fires one trigger, writes rows and records events; none commits."""
