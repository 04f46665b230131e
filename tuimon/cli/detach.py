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
    if named.pid is None:
        raise Failure(f"{named.recording} is a file, not a training that runs; `tuimon list` shows those")

    from tuimon.attach.discovery import standing_for
    from tuimon.attach.errors import AttachError

    try:
        pids = [rank.facts.pid for rank in standing_for(named.pid)] or [named.pid]
    except AttachError as several:
        raise Failure(str(several)) from None
    # One that cannot be left does not keep the others.
    failed = [error for pid in pids if (error := _leave(pid)) is not None]
    grave = [error for error in failed if not isinstance(error, _NotInside)]
    if grave or len(failed) == len(pids):
        raise (grave or failed)[0]
    return FINE


def _leave(pid: int) -> Failure | None:
    """Take tuimon out of one process and say what happened; the failure, if it was one."""
    try:
        print("\n".join(_sent_away(pid)), flush=True)
    except Failure as error:
        return error
    return None


class _NotInside(Failure):
    """There is nothing to take out."""


def _sent_away(pid: int) -> list[str]:
    """Take tuimon out of one process; what happened, in words.

    Raises:
        Failure: it cannot be told to leave, or did not.
    """
    from tuimon.attach.discovery import transport_to
    from tuimon.attach.errors import AttachError, NoAgent
    from tuimon.attach.farewell import send_away

    try:
        return _lines(pid, send_away(transport_to(pid)))
    except NoAgent as error:
        raise _NotInside(str(error)) from None
    except AttachError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        what = f"the connection to process {pid} broke ({error.strerror or error})"
        raise Failure(f"{what}; `tuimon list` shows whether it runs") from None


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
