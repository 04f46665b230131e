"""The main job, end to end: a training with one more line, found, followed and left alone."""

from __future__ import annotations

import json
import math
import subprocess
from typing import Any

from starting import PATIENCE_S, Start

PARAMETERS = [f"{layer}.{what}" for layer in (0, 2, 4) for what in ("weight", "bias")]


def said(process: subprocess.Popen[str]) -> str:
    """All it says until it ends, which it must do well."""
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    return out


def lines(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said(process).splitlines()]


def test_the_list_shows_it(start: Start, training: subprocess.Popen[str]) -> None:
    found = json.loads(said(start("-m", "tuimon", "list", "--json")))
    (shown,) = [line for line in found if line["pid"] == training.pid]
    assert shown["attachable"]
    assert shown["name"] == "digits"
    assert shown["devices"] == ["cpu"]
    assert shown["step"] >= 1


def test_record_prints_every_layer_from_the_first_step(start: Start, training: subprocess.Popen[str]) -> None:
    record = start("-m", "tuimon", "record", training.pid, "--json", "--tensors", "--steps", 5)
    hello, *samples, bye = lines(record)
    assert hello["event"] == "hello"
    assert hello["pid"] == training.pid
    assert hello["layers"] == ["0", "1", "2", "3", "4"]
    assert hello["parameters"] == 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    assert [sample["step"] for sample in samples] == [1, 2, 3, 4, 5]
    # Ten classes, and nothing learned yet.
    assert math.log(10) / 2 < samples[0]["loss"] < 2 * math.log(10)
    assert samples[0]["lr"] == [1e-3]
    for kind in ("gradient", "weight"):
        assert [t["name"] for t in samples[0]["tensors"] if t["kind"] == kind] == PARAMETERS
    assert bye["event"] == "bye"
    assert training.poll() is None


def test_the_gradient_norm_is_that_of_all_gradients(start: Start, training: subprocess.Popen[str]) -> None:
    record = start("-m", "tuimon", "record", training.pid, "--json", "--tensors", "--steps", 3)
    for sample in lines(record)[1:-1]:
        norms = [t["norm"] for t in sample["tensors"] if t["kind"] == "gradient"]
        # Norms are sums in float64 of float32 elements: far closer than float32 can tell.
        assert math.isclose(sample["grad_norm"], math.hypot(*norms), rel_tol=2.0**-20)


def test_attach_without_a_terminal_follows_it_to_its_end(
    start: Start, training: subprocess.Popen[str]
) -> None:
    attach = start("-m", "tuimon", "attach", training.pid)
    assert attach.stdout is not None
    assert attach.stdout.readline().startswith("digits  pid")
    assert attach.stdout.readline().startswith("step 1  loss 2")
    steps = int(said(training))
    shown = said(attach).splitlines()
    assert shown[-1].startswith(f"end at step {steps}: the training has finished")
    assert shown[-2].startswith(f"step {steps}  loss")


def test_a_killed_viewer_changes_nothing_for_the_training(
    start: Start, training: subprocess.Popen[str]
) -> None:
    for _ in range(3):
        viewer = start("-m", "tuimon", "record", training.pid, "--json")
        assert viewer.stdout is not None
        viewer.stdout.readline()
        viewer.kill()
        viewer.wait(PATIENCE_S)
    again = start("-m", "tuimon", "record", training.pid, "--json", "--steps", 4)
    assert [line["step"] for line in lines(again)[1:-1]] == [1, 2, 3, 4]
    assert int(said(training)) >= 4
