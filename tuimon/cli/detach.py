"""`tuimon detach`: take the agent out of a training again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tuimon.cli.exits import FINE, Failure
from tuimon.cli.target import complete_target, place_options, read_target

if TYPE_CHECKING:
    from tuimon.attach.farewell import Farewell


@click.command(short_help="Take tuimon out of a training again.")
@click.argument("target", required=False, shell_complete=complete_target)
@place_options
def detach(target: str | None, via: str | None, remote_command: str | None) -> int:
    """Take tuimon out of the training TARGET, a process id that `tuimon list` shows, or HOST:PID.

    The training goes on as if tuimon had never been there: every hook is taken out at the end of the step
    that runs, or after a few seconds without one. All viewers are told. To close one viewer, leave it (q).
    A launcher's process id (torchrun's) stands for all of its ranks.
    """
    named = read_target(target, via, remote_command)
    if named.place is not None:
        from tuimon.cli.elsewhere import run_there

        if named.pid is None:
            raise click.UsageError(f"Name the training, such as {named.place.target(4711)}.")
        return run_there(named.place, "detach", named.pid)
    assert named.pid is not None

    from tuimon.attach.discovery import standing_for, transport_to
    from tuimon.attach.errors import AttachError
    from tuimon.attach.farewell import send_away

    for pid in [rank.facts.pid for rank in standing_for(named.pid)] or [named.pid]:
        try:
            farewell = send_away(transport_to(pid))
        except AttachError as error:
            raise Failure(str(error)) from None
        print("\n".join(_lines(pid, farewell)))
    return FINE


def _lines(pid: int, farewell: Farewell) -> list[str]:
    """What happened, in words.

    Raises:
        Failure: the agent is gone, and did not say how.
    """
    bye = farewell.bye
    if bye is None:
        what = f"the agent in process {pid} hung up without a goodbye"
        raise Failure(f"{what}; `tuimon list` shows whether that process runs")
    what = f"process {pid} ({farewell.name})"
    step = f" at step {bye.step}" if bye.step else ""
    if bye.reason == "finished":
        return [f"{what} ended by itself{step}"]
    if bye.reason.startswith("disarmed"):
        return [f"tuimon had left {what} already{step}: {bye.reason}"]
    return [f"tuimon has left {what}{step}; the training goes on", *farewell.notices]
