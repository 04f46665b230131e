"""Programs in processes of their own, entered in mid-run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from looping import Bare, Loop, Rank, Run
from looping import observe as observe_loop

from tuimon_kernels import backend


# Once in this process, so that none of the programs finds them uncompiled.
@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    kernels = backend("cpu")
    assert kernels is not None
    kernels.warm()


@pytest.fixture(scope="session")
def bare() -> Iterator[Bare]:
    """Runs the twins that nobody attaches to."""
    twins = Bare()
    yield twins
    twins.close()


@pytest.fixture(scope="session")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Loop]]:
    """Starts a program; what still runs in the end is killed."""
    begun: list[Loop] = []

    def begin(program: str, *, warnings: str = "error", rank: Rank | None = None) -> Loop:
        begun.append(Loop(program, tmp_path_factory.mktemp("run"), warnings=warnings, rank=rank))
        return begun[-1]

    yield begin
    for loop in begun:
        loop.kill()


@pytest.fixture(scope="session")
def observed(begin: Callable[..., Loop], bare: Bare) -> Callable[..., Run]:
    """What came of a program that was entered in mid-run; each is run once, however many tests ask."""
    known: dict[str, Run] = {}

    def observed(program: str, *, warnings: str = "error", after: int = 10, steps: int = 20) -> Run:
        if program not in known:
            loop = begin(program, warnings=warnings)
            known[program] = observe_loop(loop, bare, program, after, steps)
        return known[program]

    return observed
