"""`tuimon list`: the trainings of this machine, or of others."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tuimon.cli.exits import FAILED, FINE
from tuimon.cli.target import place_options, read_places

if TYPE_CHECKING:
    from tuimon.attach.discovery import TrainingProcess

_HEADINGS = ("PID", "USER", "RUN", "FRAMEWORK", "DEVICES", "STEP", "ATTACH")
#: Longest name or command line shown in the table; `--json` has all of it.
_NAME_WIDTH = 40


@click.command("list", short_help="List the trainings of this machine, or of others.")
@click.argument("hosts", nargs=-1, metavar="[HOST...]")
@place_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with one object per training.")
def list_(hosts: tuple[str, ...], via: str | None, remote_command: str | None, as_json: bool) -> int:
    """List the PyTorch processes of this machine, and whether one can attach to them.

    ATTACH says "yes": tuimon is inside; "enter": attaching brings it in; else what stands in the way, in
    a word, explained below the table. `tuimon doctor PID` looks closer.

    Ranks come with their number and the process that launched them, whose pid stands for them as well.

    With HOSTs, theirs instead, reached through ssh all at the same time; tuimon must be installed there.
    """
    places = read_places(hosts, via, remote_command)
    if places:
        from tuimon.cli.elsewhere import list_places

        trainings, failures = list_places(places)
    else:
        from tuimon.attach.discovery import list_trainings

        trainings, failures = list_trainings(), []
    if as_json:
        print(json.dumps([_object(training) for training in trainings], indent=2, ensure_ascii=False))
    elif trainings:
        print("\n".join(table_lines(trainings)))
    elif not failures:
        where = "on " + ", ".join(place.name for place in places) if places else "on this machine"
        print(f"no training that this user may look into runs {where}", file=sys.stderr)
    for failure in failures:
        print(f"tuimon: {failure}", file=sys.stderr)
    return FAILED if failures else FINE


def table_lines(trainings: Sequence[TrainingProcess]) -> list[str]:
    """A table, and below it why one cannot attach where one cannot."""
    headings = list(_HEADINGS)
    rows = [list(_row(training)) for training in trainings]
    if any(training.rank is not None or training.launcher is not None for training in trainings):
        # Behind the user, before the run's name.
        headings[2:2] = ["RANK", "LAUNCHER"]
        for row, training in zip(rows, trainings, strict=True):
            row[2:2] = [_rank(training), "-" if training.launcher is None else str(training.launcher)]
    if any(training.host is not None for training in trainings):
        headings.insert(0, "HOST")
        for row, training in zip(rows, trainings, strict=True):
            row.insert(0, training.host or "-")
    return [*_table([headings, *rows]), *_reasons(trainings)]


def _object(training: TrainingProcess) -> dict[str, object]:
    return {
        "pid": training.pid,
        "user": training.user,
        "command": list(training.command),
        "name": training.name,
        "framework": training.framework,
        "devices": list(training.devices),
        "step": training.step,
        "rank": training.rank,
        "world_size": training.world_size,
        "launcher": training.launcher,
        "attachable": training.attachable,
        "enters": training.enters,
        "attach": training.word,
        "reason": training.reason,
        "host": training.host,
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
        training.word,
    )


def _rank(training: TrainingProcess) -> str:
    of = "" if training.world_size is None else f"/{training.world_size}"
    return "-" if training.rank is None else f"{training.rank}{of}"


def _command(words: Sequence[str]) -> str:
    """The command line with its programs' folders left out: what distinguishes it comes first."""
    names = [os.path.basename(word) if "/" in word else word for word in words[:2]]
    return shlex.join([*names, *words[2:]])


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return ["  ".join(cells).rstrip() for cells in padded]


def _reasons(trainings: Sequence[TrainingProcess]) -> list[str]:
    """Why one cannot attach: each reason once, with whom it keeps out."""
    pids: dict[str, list[str]] = {}
    for training in trainings:
        if not training.attachable:
            place = "" if training.host is None else f"{training.host}:"
            pids.setdefault(training.reason or "unknown", []).append(f"{place}{training.pid}")
    return [f"{', '.join(who)}: {reason}" for reason, who in pids.items()]
