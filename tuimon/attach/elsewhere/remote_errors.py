"""Why another place cannot be reached, or tuimon not be found there.

AttachError
└── PlaceError            base: the place is in its line
    ├── NoClient          the command that leads there is not installed here
    ├── HostUnknown       ssh knows no such host
    ├── NoWayThere        nothing answers, or the command that leads there failed
    ├── NotAdmitted       the host lets this user not in
    ├── KeyRefused        ssh does not trust the host's key
    ├── NoTuimonThere     it is not found there
    ├── OldTuimonThere    it is, and has no relay that is understood here
    ├── NoiseThere        something else than tuimon speaks
    ├── RefusedThere      tuimon answers there, and says why one cannot attach
    └── EndedThere        after a new connection the process followed is gone
"""

from __future__ import annotations

import re

from tuimon.attach.elsewhere.greeting import Greeting
from tuimon.attach.errors import AttachError

#: Where to name tuimon's place on the other side.
_NAME_IT = "name it: --remote-command '/path/to/venv/bin/tuimon', or TUIMON_REMOTE in the environment"

#: What ssh says on stderr, and what is the matter then; it has one exit code for all of it.
_UNKNOWN = re.compile(
    r"could not resolve|name or service not known|bad configuration option|no such host", re.I
)
_REFUSED_KEY = re.compile(r"host key verification failed|host identification has changed", re.I)
_NOT_ADMITTED = re.compile(r"permission denied|too many authentication failures|no supported authenti", re.I)


class PlaceError(AttachError):
    """Base: something is the matter with the way to a place, or with tuimon there."""

    def __init__(self, place: str, what: str, remedy: str, pid: int | None = None) -> None:
        super().__init__(what, remedy, pid)
        self.place = place


class NoClient(PlaceError):
    """The command that leads there is not installed here."""

    def __init__(self, place: str, program: str) -> None:
        what = "install OpenSSH's client" if program == "ssh" else "install it, or write its whole path"
        super().__init__(place, f"there is no `{program}` here, which is the way to {place}", what)


class HostUnknown(PlaceError):
    """ssh knows no host of that name."""

    def __init__(self, place: str, said: str) -> None:
        super().__init__(
            place,
            f"{place} is no host that ssh knows ({said})",
            "write it as `ssh` takes it, or give it a name in ~/.ssh/config",
        )


class NoWayThere(PlaceError):
    """Nothing answers there, or the command that leads there failed."""

    def __init__(self, place: str, said: str, attempt: str) -> None:
        super().__init__(
            place, f"no connection to {place} ({said})", f"see whether `{attempt}` works from here"
        )


class NotAdmitted(PlaceError):
    """The host lets this user not in."""

    def __init__(self, place: str, said: str) -> None:
        super().__init__(
            place,
            f"{place} does not let this user in ({said})",
            f"make `ssh {place} true` work first, with a key in ssh-agent where no terminal can ask for it",
        )


class KeyRefused(PlaceError):
    """ssh does not trust the host's key."""

    def __init__(self, place: str, said: str, changed: bool) -> None:
        remedy = (
            "it was another one before: find out why before you forget the old one with `ssh-keygen -R`"
            if changed
            else f"connect once with `ssh {place}`, where you can compare and accept it"
        )
        super().__init__(place, f"ssh does not trust the key of {place} ({said})", remedy)

    @property
    def is_final(self) -> bool:
        """Trust is a person's to give."""
        return True


class NoTuimonThere(PlaceError):
    """tuimon is not found there."""

    def __init__(self, place: str, said: str | None) -> None:
        because = f" ({said})" if said else ""
        super().__init__(
            place, f"there is no tuimon on {place}{because}", f"`pip install tuimon` there, or {_NAME_IT}"
        )


class OldTuimonThere(PlaceError):
    """The tuimon there has no relay, or one that is not understood here."""

    def __init__(self, place: str, version: str | None) -> None:
        which = "" if version is None else f" ({version})"
        super().__init__(
            place,
            f"the tuimon on {place}{which} cannot be attached through from here",
            "install the same version on both sides, or " + _NAME_IT,
        )

    @property
    def is_final(self) -> bool:
        """It stays what it is."""
        return True


class NoiseThere(PlaceError):
    """Something else than tuimon speaks."""

    def __init__(self, place: str, heard: str) -> None:
        super().__init__(
            place,
            f"{place} answers with something else than tuimon ({heard!r:.80})",
            "see whether the way there gives a plain stdio, without a terminal (`-i`, not `-it`)",
        )


class RefusedThere(PlaceError):
    """tuimon answers there, and says why one cannot attach."""

    #: Kinds that do not change while the process lives, as in `tuimon.attach.errors`.
    _FINAL = frozenset({"NoSuchProcess", "OtherUser", "WrongProtocol"})

    def __init__(self, place: str, greeting: Greeting) -> None:
        super().__init__(
            place,
            f"on {place}: {greeting.what or 'one cannot attach'}",
            greeting.remedy or f"see `tuimon list {place}`",
            greeting.pid,
        )
        self.kind = greeting.kind

    @property
    def is_final(self) -> bool:
        """As over there."""
        return self.kind in self._FINAL


class EndedThere(PlaceError):
    """The process that was followed is gone, seen after a new connection."""

    def __init__(self, place: str, pid: int | None) -> None:
        super().__init__(
            place, "the training process has ended", f"`tuimon list` shows what runs on {place} now", pid
        )

    @property
    def is_final(self) -> bool:
        """It does not come back."""
        return True


def ssh_failure(place: str, lines: list[str]) -> PlaceError:
    """What ssh's own lines mean; it ends with 255 whatever was the matter."""
    said = "\n".join(lines)
    last = lines[-1].removeprefix("ssh: ") if lines else "ssh said nothing"
    if _REFUSED_KEY.search(said):
        return KeyRefused(place, last, "changed" in said.lower())
    if _NOT_ADMITTED.search(said):
        return NotAdmitted(place, last)
    if _UNKNOWN.search(said):
        return HostUnknown(place, last)
    return NoWayThere(place, last, f"ssh {place} true")
