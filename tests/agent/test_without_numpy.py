"""A plain `pip install torch` brings neither NumPy nor Numba: the agent does without, and says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from observing import PATIENCE_S

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    run = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "train_without_numpy.py")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={"XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("runtime")), "OMP_NUM_THREADS": "1"},
    )
    assert run.stderr == ""
    found: dict[str, object] = json.loads(run.stdout)
    return found


def test_all_is_seen_without_numpy(told: dict[str, object]) -> None:
    assert told["loaded"] == []
    assert told["kernels"] == {"cpu": "torch"}
    assert told["samples"] == 12
    sizes = {"0.weight": 160, "2.weight": 19200, "2.bias": 600, "5.weight": 4800, "5.bias": 8}
    expected = {f"{kind} {name}": n for kind in ("gradient", "weight") for name, n in sizes.items()}
    outputs = (512, 512, 9600, 9600, 9600, 128, 128)
    expected |= {
        f"{kind} {i}": n for kind in ("activation", "output_gradient") for i, n in enumerate(outputs)
    }
    assert told["n"] == {**expected, "input input": 64}
    assert told["updates"] == 5
    assert told["dead"] == 0.0
    assert told["norm"] == pytest.approx(told["norm by hand"], rel=1e-6)
    assert told["loss"] == told["loss by hand"]


def test_modes_neither_change_what_is_read_nor_see_it_read(told: dict[str, object]) -> None:
    assert told["same"], "the watched training ended elsewhere"
    assert told["extra"] == {}, "operations of the monitor that a mode of the training saw"
