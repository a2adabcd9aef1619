"""What is launched: a named `jaxlin train` command, in the words of a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from jaxlin.config.errors import ConfigError, PreemptedError

RESTART = PreemptedError.exit_code  # "saved; run the same command again"
FINAL = (2, 3, 4, 5)  # exit codes that the same command would end with again
MOUNT = "/mnt/jaxlin"  # where the hosts of a cloud see the shared folder
RESTARTS = 100  # of a run, by its engine
SCRIPT = "#!/bin/bash"


@dataclass(frozen=True)
class Job:
    """`words` follow `jaxlin` on the command line of each process."""

    name: str
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        name("--name", self.name)
        for word in self.words:
            if not word.isprintable():
                raise ConfigError(
                    f"{word!r} holds a character that cannot be printed, and has no place in a "
                    "script or manifest"
                )

    def command(self, *more: str) -> str:
        """The command, quoted for a shell. `more` is added as it is."""
        return " ".join([shlex.join(["jaxlin", *self.words]), *more])


def name(option: str, value: str) -> str:
    """The value if clouds, Kubernetes and SLURM all take it as a name. Raises ConfigError."""
    if not re.fullmatch(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?", value):
        raise ConfigError(
            f"{option}: {value!r} is no name that clouds take: small letters, digits and dashes, "
            "beginning with a letter, at most 40 of them"
        )
    return value


def plain(option: str, value: str, extra: str = "") -> str:
    """The value if it is letters, digits, `.`, `_`, `-` or one of `extra`, so that nothing has to
    be quoted. Raises ConfigError."""
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._\-{re.escape(extra)}]{{0,254}}", value):
        shown = " ".join(extra)
        raise ConfigError(
            f"{option}: {value!r} may have letters, digits and . _ - {shown} only".rstrip()
        )
    return value


def positive(option: str, value: int, most: int = 100_000) -> int:
    """The value if it is a count. Raises ConfigError."""
    if not 1 <= value <= most:
        raise ConfigError(f"{option}: {value} is not among 1 to {most}")
    return value


def shell(*parts: str | Sequence[str]) -> str:
    """A command over several lines: each part is one; a list of words is quoted."""
    lines = [part if isinstance(part, str) else shlex.join(part) for part in parts]
    return " \\\n    ".join(lines)


def nfs(option: str, value: str | None) -> tuple[str, str]:
    """Server and path of SERVER:/PATH. Raises ConfigError."""
    found = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9.-]*):(/[A-Za-z0-9._/-]+)", value or "")
    if not found:
        what = "missing" if value is None else repr(value)
        raise ConfigError(
            f"{option}: {what}; give SERVER:/PATH, such as 10.0.0.2:/runs, of a network file "
            "system (Filestore): checkpoints are written and read by all hosts"
        )
    return found[1], found[2]
