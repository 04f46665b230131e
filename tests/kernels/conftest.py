from __future__ import annotations

import pytest

import tuimon_kernels
from tuimon_kernels import reference
from tuimon_kernels.backend import Backend


@pytest.fixture(params=["reference", "numba"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Return each implementation in turn: a promise is one test over all of them."""
    if request.param == "reference":
        return reference.BACKEND
    pytest.importorskip("numba")
    found = tuimon_kernels.backend("cpu")
    assert found is not None
    assert found.name == "numba"
    return found
