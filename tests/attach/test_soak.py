"""Two hundred times in and out of trainings that have never heard of tuimon, which do not notice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.soak import Line, soak
from bench.soak_target import KINDS

CYCLES = 40
#: At once: half of a cycle is waiting.
_AT_ONCE = 3

#: A page and what the interpreter keeps of a thread, per cycle; a leaked agent is above 1000.
FLAT_KB = 60.0

pytestmark = [
    pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only"),
]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Line]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("soak")
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(_AT_ONCE) as pool:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        return dict(zip(KINDS, pool.map(lambda kind: soak(kind, CYCLES, folder), KINDS), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_every_cycle_succeeds_and_the_training_does_not_notice(lines: dict[str, Line], kind: str) -> None:
    line = lines[kind]
    assert (line.succeeded, line.failures) == (CYCLES, "")
    assert line.losses_equal
    assert line.steps > CYCLES
    assert line.growth_kb < FLAT_KB


def test_the_losses_would_show_a_difference(tmp_path: Path) -> None:
    """The comparison is one: another seed of the same training gives other losses."""
    from bench import soak_target

    program = Path(soak_target.__file__).read_text().replace("manual_seed(0)", "manual_seed(1)")
    command = [sys.executable, "-c", program, "busy", str(tmp_path / "other"), "--steps", "3", "--fast"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    from bench.soak import records, untouched

    other = [loss for _, loss in records(tmp_path / "other")]
    assert len(other) == 3
    assert other != untouched("busy", 3, tmp_path / "own")
