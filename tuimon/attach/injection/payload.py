"""The one line that is run in the process's main thread: it starts a thread, and can raise nothing.

`PyRun_SimpleString` runs it, in the namespace of `__main__`, between two instructions of the training. If it
raised, the training would get a SystemError there; so all is inside of a `try`, and no name is looked up
that a script could have replaced, and none is bound.
"""

from __future__ import annotations

#: Runs in the new thread, in a namespace of its own. An archive that is gone means: given up.
_SOURCE = """try:
 g={{'__name__':'tuimon_bootstrap'}}
 z=__import__('zipimport').zipimporter({archive})
 exec(z.get_data('tuimon/agent/bootstrap.py'),g)
 g['inject']({folder})
except BaseException:pass
"""

_LINE = """try:__import__('_thread').start_new_thread(__import__('builtins').exec,({source},{{}}))
except:pass
"""


def line(folder: str, archive: str) -> str:
    """What to run, ASCII only: enter with what lies in `folder` (paths as the process sees them)."""
    return _LINE.format(source=ascii(_SOURCE.format(archive=ascii(archive), folder=ascii(folder))))
