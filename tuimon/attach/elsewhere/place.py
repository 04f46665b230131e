"""Another place where trainings run, and the command that leads there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuimon.attach.elsewhere.remote_errors import (
    NoiseThere,
    NoTuimonThere,
    NoWayThere,
    OldTuimonThere,
    PlaceError,
    ssh_failure,
)

#: OpenSSH's own client with the user's own configuration, less what would disturb a plain stdio:
#: a terminal, a forwarded port that another connection holds already, a command from the
#: configuration. A network that dies is noticed after three times 15 s.
_SSH = (
    "ssh", "-T",
    "-o", "ClearAllForwardings=yes",
    "-o", "ForwardAgent=no",
    "-o", "ForwardX11=no",
    "-o", "RemoteCommand=none",
    "-o", "ConnectTimeout=15",
    "-o", "ServerAliveInterval=15",
    "-o", "ServerAliveCountMax=3",
)  # fmt: skip

#: Finds tuimon where a shell without a login has no PATH to it: installed for the user; importable;
#: in an environment that a process of this user runs in, that of process $2 first, if it is one. (Root
#: owns what the kernel shows of other users' guarded processes, so root takes its own programs only.)
#: One line without ' and !, which any login shell hands on as it stands.
_FIND = "; ".join(
    (
        'for t in tuimon "$HOME/.local/bin/tuimon"',
        'do command -v "$t" >/dev/null 2>&1 && exec "$t" "$@"',
        "done",
        'python3 -c "import tuimon.cli.main" </dev/null >/dev/null 2>&1 && exec python3 -m tuimon "$@"',
        "u=$(id -u) f=",
        'for p in "/proc/$2" /proc/[0-9]*',
        'do [ -O "$p/environ" ] && f="$f $p/environ $p/cmdline"',
        "done",
        't=$(cat $f 2>/dev/null </dev/null | tr "\\000" "\\n" | sed -n'
        ' -e "s,^VIRTUAL_ENV=\\(/.*\\)$,\\1/bin,p" -e "s,^CONDA_PREFIX=\\(/.*\\)$,\\1/bin,p"'
        ' -e "s,^\\(/.*/bin\\)/python[0-9.]*$,\\1,p" | while read -r d',
        'do if [ -x "$d/tuimon" ] && { [ "$u" -ne 0 ] || { [ -O "$d" ] && [ -O "$d/tuimon" ]; }; }',
        'then echo "$d/tuimon"; break; fi',
        "done)",
        '[ -n "$t" ] && exec "$t" "$@"',
        "exit 127",
    )
)

#: A host as ssh takes it: a name, an address, or an alias of the user's configuration.
_HOST = re.compile(r"(?:[\w.+-]+@)?(?:\[[0-9A-Fa-f:.%\w]+\]|[\w.][\w.-]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A host for ssh, or any command that gives a stdio on the other side.

    `command` alone says how tuimon is started there; without it, it is looked for.
    """

    host: str | None = None
    #: What stands before the command to run there, such as ("docker", "exec", "-i", "c").
    via: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For messages."""
        return self.host or shlex.join(self.via)

    @property
    def attempt(self) -> str:
        """What a person can try, to see whether the way there works."""
        return f"ssh {self.host} true" if self.host is not None else f"{self.name} true"

    @property
    def argument(self) -> str:
        """How a person names it on the command line."""
        return self.host if self.host is not None else f"--via {shlex.quote(self.name)}"

    def target(self, pid: int) -> str:
        """How a person names a process there on the command line."""
        return f"{self.argument}:{pid}" if self.host is not None else f"{self.argument} {pid}"

    def words(self, *arguments: str, ask: bool = False) -> list[str]:
        """The command that runs `tuimon ARGUMENTS` there; with `ask`, it may ask the person."""
        there = [*self.command, *arguments] if self.command else ["sh", "-c", _FIND, "tuimon", *arguments]
        if self.host is not None:
            batch = [] if ask else ["-o", "BatchMode=yes"]
            return [*_SSH, *batch, "--", self.host.replace("[", "").replace("]", ""), shlex.join(there)]
        # ssh, behind whatever stands before it, makes one line of its words for a shell; nothing else does.
        through_a_shell = any(Path(word).name == "ssh" for word in self.via)
        via = list(self.via)
        if Path(via[0]).name == "srun":
            # Slurm hands on whole lines only, unless told not to; frames have none.
            via.insert(1, "--unbuffered")
        return [*via, *([shlex.join(there)] if through_a_shell else there)]

    def failure(self, code: int, said: Sequence[str], heard: bytes) -> PlaceError:
        """Why there was no greeting: by the exit code, the lines on stderr, and what came instead."""
        last = said[-1] if said else None
        if self.host is not None and code == 255:
            return ssh_failure(self.name, list(said))
        everything = "\n".join(said)
        if "No such command" in everything:
            return OldTuimonThere(self.name, None)
        if code in (126, 127) or re.search(r"exit code 12[67]|No module named '?tuimon", everything):
            return NoTuimonThere(self.name, last)
        if heard.strip():
            return NoiseThere(self.name, heard.decode(errors="replace").strip())
        return NoWayThere(self.name, last or f"exit code {code}", self.attempt)


def is_host(text: str) -> bool:
    """Whether ssh could take it as a host."""
    return _HOST.fullmatch(text) is not None
