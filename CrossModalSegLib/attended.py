"""Runs a command of the library as a process that somebody attends: it says which process it is, and ends with them.

``python -m CrossModalSegLib.attended MODULE ARGUMENTS`` is ``python -m MODULE ARGUMENTS``, but

- its first line on stdout is the event ``ready`` of the `protocol`, with its process id: what was started may have been
  a launcher, such as PythonSlicer, whose child this is; whoever wants to end it needs to know this process, not the
  launcher;
- it leads a process group of its own, so that it is ended together with all that it has started;
- when its stdin closes, nobody attends it any more: it ends at once. So nothing goes on after the program that wanted
it.

``worker`` keeps the same promises by itself, because it reads requests from its stdin.
"""

import contextlib
import os
import runpy
import signal
import sys
import threading

from CrossModalSegLib import __version__
from CrossModalSegLib.protocol import Ready, encode


def main() -> None:
    """The command line; see the top of this module."""
    attention = _take_stdin()
    lead_own_group()
    sys.stdout.buffer.write(encode(Ready(__version__, os.getpid())))
    sys.stdout.flush()
    threading.Thread(target=_end_when_closed, args=(attention,), daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def lead_own_group() -> None:
    """Become the leader of a process group, so that this process can be killed with all that it has started."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(PermissionError):  # it leads one already
            os.setsid()


def _take_stdin() -> int:
    """A file descriptor of stdin that nobody else knows; for all others stdin is empty."""
    attention = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return attention


def _end_when_closed(attention: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(attention, 1 << 10):
            pass
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
