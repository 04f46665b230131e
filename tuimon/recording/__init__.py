"""Floor 2: a followed run in one SQLite file."""
