"""What the end-to-end tests share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

#: A guard against hanging, no measurement.
PATIENCE_S = 300.0

#: The fixture `start` of conftest.py.
Start = Callable[..., "subprocess.Popen[str]"]
