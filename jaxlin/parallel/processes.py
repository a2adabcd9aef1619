"""What the processes of one run tell each other in words, through JAX's coordination service.

No device takes part, so that it works where devices do not. With one process there is nobody to
talk to, and everything here returns at once. All processes make the same calls in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

from jaxlin.config.errors import JaxlinError

PATIENCE = 600.0  # seconds for the slowest process to come to the same call
PREFIX = "jaxlin"


def client() -> Any | None:
    """The connection to the coordination service; None in a process that is alone."""
    from jax._src import distributed  # JAX has no public name for it

    return distributed.global_state.client if jax.process_count() > 1 else None


def is_first() -> bool:
    """Whether this process writes the run directory's files and speaks for the others."""
    return jax.process_index() == 0


def meet(name: str, seconds: float = PATIENCE) -> None:
    """Returns once all processes are here."""
    if service := client():
        service.wait_at_barrier(f"{PREFIX}/{name}", int(1000 * seconds))


def all_say(name: str, text: str, seconds: float = PATIENCE) -> list[str]:
    """What each process says under this name, in the order of the processes."""
    service = client()
    if service is None:
        return [text]
    mine, wait = f"{PREFIX}/{name}/{jax.process_index()}", int(1000 * seconds)
    # Values may not be empty, and one name serves many times.
    service.key_value_set(mine, f"={text}", allow_overwrite=True)
    said = [
        service.blocking_key_value_get(f"{PREFIX}/{name}/{index}", wait)[1:]
        for index in range(jax.process_count())
    ]
    meet(name, seconds)  # all have read
    service.key_value_delete(mine)
    return said


def first_says(name: str, text: Callable[[], str], seconds: float = PATIENCE) -> str:
    """What the first process says; only there `text` is called."""
    service = client()
    if service is None:
        return text()
    key = f"{PREFIX}/{name}"
    if is_first():
        service.key_value_set(key, f"={text()}", allow_overwrite=True)
    said = service.blocking_key_value_get(key, int(1000 * seconds))[1:]
    meet(name, seconds)
    if is_first():
        service.key_value_delete(key)
    return said


@contextmanager
def together(name: str, kind: type[JaxlinError] = JaxlinError) -> Iterator[None]:
    """What is inside ends well on all processes, or with the same error on all.

    That of the lowest process whose input is at fault (an error of this kind) is raised by all.
    Inside, no process may wait for another one.
    """
    own: JaxlinError | None = None
    try:
        yield
    except kind as error:
        own = error
    said = all_say(name, "" if own is None else f"{own.exit_code} {own}")
    failed = [index for index, text in enumerate(said) if text]
    if not failed:
        return
    if own is not None and failed[0] == jax.process_index():
        raise own
    raise error_of(said[failed[0]], failed[0], kind) from own


def error_of(text: str, index: int, kind: type[JaxlinError] = JaxlinError) -> JaxlinError:
    """The error that process `index` tells as "EXIT_CODE MESSAGE": of this kind, or of one below
    that has this exit code of its own."""
    code, _, message = text.partition(" ")
    kinds = {below.exit_code: below for below in _kinds(kind)}
    return kinds.get(int(code), kind)(f"process {index}: {message}")


def _kinds(kind: type[JaxlinError]) -> Iterator[type[JaxlinError]]:
    yield kind
    for below in kind.__subclasses__():
        if "exit_code" in vars(below):
            yield from _kinds(below)
