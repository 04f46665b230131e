"""Programs in processes of their own, entered in mid-run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from looping import HOW, Bare, How, Loop, Rank, Run
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
def observed(
    request: pytest.FixtureRequest, begin: Callable[..., Loop], bare: Bare
) -> Iterator[Callable[[str], Run]]:
    """What came of a program that was entered in mid-run; each is run once, however many tests ask.

    While one is looked at, the next one that a test will ask for starts: that is mostly loading PyTorch.
    """
    known: dict[str, Future[Run]] = {}
    order = programs(request.session.items)
    with ThreadPoolExecutor(2) as pool:

        def run(program: str) -> Run:
            how = HOW.get(program, How())
            return observe_loop(begin(program, warnings=how.warnings), bare, program, how.steps)

        def observed(program: str) -> Run:
            place = order.index(program)
            for wanted in order[place : place + 2]:
                if wanted not in known:
                    known[wanted] = pool.submit(run, wanted)
            return known[program].result()

        yield observed


def programs(items: Sequence[pytest.Item]) -> list[str]:
    """The programs that these tests will ask `observed` for, by the names that they and their cases hold."""
    found: dict[str, None] = {}
    for item in items:
        if isinstance(item, pytest.Function) and "observed" in item.fixturenames:
            case = item.callspec.params.values() if hasattr(item, "callspec") else ()
            held = [*item.function.__code__.co_consts, *case]
            found.update(
                dict.fromkeys(name for name in held if isinstance(name, str) and name.endswith(".py"))
            )
    return list(found)
