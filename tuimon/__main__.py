"""`python -m tuimon`: the command line, where the installed command is not on the path."""

from __future__ import annotations

from tuimon.cli.main import main

if __name__ == "__main__":
    main()
