"""Floor 3: one followed run, screenless: what the screen draws and what `--json` prints is the same."""
