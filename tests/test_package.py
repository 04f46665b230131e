"""What is installed: the public names, what the viewer needs, and what the wheel holds."""

from __future__ import annotations

import re
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import tuimon

REPOSITORY = Path(__file__).resolve().parent.parent


def test_the_public_names_are_these() -> None:
    assert set(tuimon.__all__) == {"Monitor", "__version__", "log", "watch"}
    with pytest.raises(AttributeError, match="no attribute 'whatever'"):
        tuimon.whatever  # noqa: B018


def test_the_version_is_one() -> None:
    assert metadata.version("tuimon") == tuimon.__version__
    assert tuimon.__version__ in (REPOSITORY / "CHANGELOG.md").read_text()


def test_the_viewer_needs_no_training_library() -> None:
    always = [need for need in metadata.requires("tuimon") or [] if "extra ==" not in need]
    names = {re.split(r"[^A-Za-z0-9_.-]", need)[0].lower() for need in always}
    assert "textual" in names
    assert not names & {"torch", "numba", "triton"}


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    (wheel,) = WheelBuilder(str(REPOSITORY)).build(
        directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"]
    )
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_both_packages(entries: set[str]) -> None:
    assert {"tuimon/py.typed", "tuimon_kernels/py.typed", "tuimon/demo/train.py"} <= entries
    assert any(name.endswith(".tcss") for name in entries)
    # No package of its own: what `tuimon run` puts on the path of others.
    assert "tuimon/agent/on_path/sitecustomize.py" in entries


def test_nothing_of_the_wheel_lies_outside_them(entries: set[str]) -> None:
    tops = {name.partition("/")[0] for name in entries}
    # A top-level `kernels` would overwrite the Hugging Face package of that name.
    assert tops == {"tuimon", "tuimon_kernels", f"tuimon-{tuimon.__version__}.dist-info"}
    assert not any("__pycache__" in name for name in entries)
