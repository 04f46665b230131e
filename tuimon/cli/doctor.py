"""`tuimon doctor`: what would work here, what would not, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tuimon.cli.exits import FAILED, FINE, Failure
from tuimon.cli.target import Target, complete_target, place_options, read_target

if TYPE_CHECKING:
    from tuimon.attach.inspection.examination import Examination
    from tuimon.attach.inspection.findings import Finding
    from tuimon.attach.inspection.stack import Whereabouts

#: "no" stands out among what is well.
_MARKS = {"ok": "ok", "no": "NO", "note": "--"}


@click.command(short_help="Tell what stands in the way of attaching, and where a training hangs.")
@click.argument("target", required=False, shell_complete=complete_target)
@place_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(target: str | None, via: str | None, remote_command: str | None, as_json: bool) -> int:
    """Tell whether one can attach to trainings of this machine, and if not, why, and what to do.

    With TARGET (a process id) also whether one can attach to that process, and where its main thread is
    just now: nothing of it is stopped or changed. HOST and HOST:PID are looked at over there. The exit
    code is 0 if one can attach, and 1 if not.
    """
    named = Target(None) if target is None and via is None else read_target(target, via, remote_command)
    if named.place is not None:
        from tuimon.cli.elsewhere import run_there

        pid = [] if named.pid is None else [named.pid]
        return run_there(named.place, "doctor", *pid, *(["--json"] if as_json else []))
    from tuimon.attach.errors import AttachError
    from tuimon.attach.inspection.examination import examination
    from tuimon.attach.inspection.findings import clear
    from tuimon.attach.inspection.machine import machine_findings

    try:
        examined = None if named.pid is None else examination(named.pid)
    except AttachError as error:
        raise Failure(str(error)) from None
    machine = machine_findings()
    attachable = clear(machine) if examined is None else examined.attachable
    if as_json:
        print(json.dumps(_object(machine, examined, attachable), indent=2, ensure_ascii=False))
    else:
        print("\n".join([*_section("this machine", machine), *_process_lines(examined)]))
        print(_verdict(examined, attachable))
    return FINE if attachable else FAILED


def _object(machine: Sequence[Finding], examined: Examination | None, attachable: bool) -> dict[str, object]:
    told: dict[str, object] = {
        "attachable": attachable,
        "machine": [asdict(finding) for finding in machine],
    }
    if examined is not None:
        told["pid"] = examined.pid
        told["process"] = [asdict(finding) for finding in examined.findings]
        at = examined.whereabouts
        told["main_thread"] = None if at is None else asdict(at)
    return told


def _process_lines(examined: Examination | None) -> list[str]:
    if examined is None:
        return []
    lines = ["", *_section(f"process {examined.pid}", examined.findings)]
    if examined.whereabouts is not None:
        lines += ["", *_stack(examined.whereabouts)]
    return lines


def _section(title: str, findings: Sequence[Finding]) -> list[str]:
    width = max(len(finding.name) for finding in findings)
    lines = [title]
    for finding in findings:
        lines.append(f"  {_MARKS[finding.verdict]}  {finding.name:<{width}}  {finding.what}")
        if finding.remedy is not None:
            lines.append(f"      {'':<{width}}  -> {finding.remedy}")
    return lines


def _stack(at: Whereabouts) -> list[str]:
    lines = [f"its main thread just now: {at.in_words()}"]
    if at.still_s is not None:
        lines = [
            f"its main thread is not executing Python: {at.in_words()}",
            f"    it has not run for {at.still_s:.1f} s: a harmless wait for data or other ranks, or a hang",
        ]
    if at.unseen is not None:
        return [*lines, f"    its Python calls cannot be shown: {at.unseen}"]
    return [*lines, *(f"    {frame.function}  {frame.file}:{frame.line}" for frame in at.frames)]


def _verdict(examined: Examination | None, attachable: bool) -> str:
    if examined is None:
        can, how = "one can attach to running trainings here", "`tuimon list` shows them"
        cannot = "running trainings here cannot be entered; `tuimon run -- COMMAND` needs none of this"
        return f"\n{can}; {how}" if attachable else f"\n{cannot}"
    if examined.inside:
        return f"\none can attach: `tuimon attach {examined.pid}`"
    if attachable and examined.whereabouts is not None and examined.whereabouts.still_s is not None:
        return f"\none can attach once its main thread goes on; `tuimon attach {examined.pid}` waits a while"
    if attachable:
        return f"\none can attach: `tuimon attach {examined.pid}` brings tuimon in; it pauses for a moment"
    return "\none cannot attach: see the lines marked NO"
