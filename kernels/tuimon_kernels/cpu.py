"""The sketch on the CPU."""

from __future__ import annotations

from tuimon_kernels.backend import Backend

BACKEND: Backend
raise ImportError("no compiled implementation yet")
