"""`tuimon list`: the trainings of this machine."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tuimon.attach.discovery import TrainingProcess

_HEADINGS = ("PID", "USER", "RUN", "FRAMEWORK", "DEVICES", "STEP", "ATTACH")
#: Longest name or command line shown in the table; `--json` has all of it.
_NAME_WIDTH = 40


@click.command("list", short_help="List the trainings of this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with one object per training.")
def list_(as_json: bool) -> int:
    """List the PyTorch processes of this machine, and whether one can attach to them.

    "yes": tuimon is inside; "enter": attaching brings it in; "no": for the reason below the table.
    """
    from tuimon.attach.discovery import list_trainings

    trainings = list_trainings()
    if as_json:
        print(json.dumps([_object(training) for training in trainings], indent=2, ensure_ascii=False))
    elif trainings:
        print("\n".join([*_table([_row(training) for training in trainings]), *_reasons(trainings)]))
    else:
        print("no training that this user may look into runs on this machine", file=sys.stderr)
    return 0


def _object(training: TrainingProcess) -> dict[str, object]:
    return {
        "pid": training.pid,
        "user": training.user,
        "command": list(training.command),
        "name": training.name,
        "framework": training.framework,
        "devices": list(training.devices),
        "step": training.step,
        "attachable": training.attachable,
        "enters": training.enters,
        "reason": training.reason,
    }


def _row(training: TrainingProcess) -> tuple[str, ...]:
    name = training.name or _command(training.command)
    return (
        str(training.pid),
        training.user,
        name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 3]}...",
        training.framework or "-",
        ", ".join(training.devices) or "-",
        "-" if training.step is None else str(training.step),
        "enter" if training.enters else "yes" if training.attachable else "no",
    )


def _command(words: Sequence[str]) -> str:
    """The command line with its programs' folders left out: what distinguishes it comes first."""
    names = [os.path.basename(word) if "/" in word else word for word in words[:2]]
    return shlex.join([*names, *words[2:]])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [_HEADINGS, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEADINGS))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return ["  ".join(cells).rstrip() for cells in padded]


def _reasons(trainings: Sequence[TrainingProcess]) -> list[str]:
    """Why one cannot attach: each reason once, with whom it keeps out."""
    pids: dict[str, list[str]] = {}
    for training in trainings:
        if not training.attachable:
            pids.setdefault(training.reason or "unknown", []).append(str(training.pid))
    return [f"{', '.join(who)}: {reason}" for reason, who in pids.items()]
