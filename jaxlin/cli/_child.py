"""`python -m jaxlin.cli._child PARENT WORDS...`: the command line in a process of a launch.

It is told to stop when its parent is gone, however it went.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from jaxlin.cli.main import main
from jaxlin.config.errors import PreemptedError

PR_SET_PDEATHSIG = 1  # of prctl(2); other systems than Linux have none


def run(parent: int, words: Sequence[str]) -> int:
    """The exit code of `jaxlin WORDS`."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:  # it went before this was asked for
        return PreemptedError.exit_code
    sys.argv = ["jaxlin", *words]
    return main(words)


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
