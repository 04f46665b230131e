"""The recorder beside a training: what happens where there is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tuimon.agent import recorder


def test_an_unwritable_file_costs_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "missing" / "run.tuimon"
    recorder.record_into(file, lambda: False)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"tuimon: {file} cannot be written to")
    assert err.count("\n") == 1


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no process is to be started")

    monkeypatch.setattr(subprocess, "Popen", fail)


@pytest.mark.usefixtures("no_process")
def test_only_the_first_rank_is_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    recorder.record_into(tmp_path / "run.tuimon", lambda: False)
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    recorder.record_into(tmp_path / "run.tuimon", lambda: False)
    assert "no process is to be started" in capfd.readouterr().err


@pytest.mark.usefixtures("no_process")
def test_an_environment_that_only_trains_is_told_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorder, "_NEEDS", ("click", "not_installed_here"))
    recorder.record_into(tmp_path / "run.tuimon", lambda: False)
    line = capfd.readouterr().err
    assert line.endswith("not_installed_here is not installed here; pip install tuimon\n")
