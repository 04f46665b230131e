"""A command that keeps its terminal, its signals and its exit code."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from tuimon.cli.exits import NOT_EXECUTABLE, NOT_FOUND, Failure

#: Passed on where they were sent to this process alone. SIGUSR1 and 2 are how a batch system announces
#: the end of a job's time.
_PASSED_ON = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
)
#: As the kernel says who sent a signal: at or below this it was a process, above it a terminal.
_BY_A_PROCESS = 0
#: Ignored by Python itself; a command expects them as they usually are.
_AS_USUAL = (signal.SIGPIPE, signal.SIGXFSZ)


class Command:
    """A started command. It stands in this process's group, so that the terminal's keys reach it.

    Must be made before any other thread starts: this process itself no longer takes the signals that it
    passes on.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            Failure: it cannot be started; with the exit code that a shell would give.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        # One that this process was told to ignore (nohup), the command ignores as well.
        taken = {s for s in _PASSED_ON if signal.getsignal(s) is not signal.SIG_IGN} - set(before)
        signal.pthread_sigmask(signal.SIG_BLOCK, taken)
        try:
            self.pid = os.posix_spawnp(
                words[0], list(words), dict(environment), setsigmask=before, setsigdef=_AS_USUAL
            )
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise _not_started(words[0], error) from None
        #: Set once the command has ended.
        self.ended = threading.Event()
        threading.Thread(target=self._wait, name="tuimon-command", daemon=True).start()
        threading.Thread(target=self._pass_on, args=(taken,), name="tuimon-signals", daemon=True).start()

    def exit_code(self) -> int:
        """The command's exit code, waited for; 128 + N if signal N ended it. Once only."""
        self.ended.wait()
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _wait(self) -> None:
        # Not collected yet, so that a signal to be passed on cannot meet another process.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.ended.set()

    def _pass_on(self, taken: set[signal.Signals]) -> None:
        while not self.ended.is_set():
            told = signal.sigwaitinfo(taken)
            # The terminal has sent its own to the command as well: twice would cut its cleaning up short.
            if told.si_code <= _BY_A_PROCESS and not self.ended.is_set():
                with suppress(ProcessLookupError):
                    os.kill(self.pid, told.si_signo)


def _not_started(name: str, error: OSError) -> Failure:
    if isinstance(error, FileNotFoundError):
        return Failure(f"{name}: there is no such command; nothing was started", NOT_FOUND)
    return Failure(f"{name} cannot be run: {error.strerror}; nothing was started", NOT_EXECUTABLE)
