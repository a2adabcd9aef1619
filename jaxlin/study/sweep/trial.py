"""`python -m jaxlin.study.sweep.trial`: what `jaxlin train` checks before it compiles, for many
configs: mesh, batch, heads, data, vocabulary, every parameter's place.

Reads [[name, config], ...] on standard input and writes [{name: problem}, what there is here] on
standard output. It is a process of its own, which ends before the points start: a device takes one
process at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

from jaxlin.config.check import refuse
from jaxlin.config.errors import JaxlinError
from jaxlin.config.load import from_json, to_json
from jaxlin.config.plain import plain
from jaxlin.config.points import Resolved, said_once


class Here(NamedTuple):
    """What points are trained on: a kind of device, how many; and the parameters of the largest."""

    platform: str
    kind: str
    devices: int
    parameters: int

    def small(self, most: int) -> bool:
        """Whether no model has more parameters than this."""
        return self.parameters <= most


def check(points: Iterable[Resolved]) -> Here:
    """Raises ConfigError that lists all points that cannot be trained here. Points that differ in
    their seed alone are tried once."""
    groups: dict[str, Resolved] = {}
    for one in points:
        groups.setdefault(one.group, one)
    if not groups:
        return Here("none", "none", 0, 0)
    asked = [[one.point.name, to_json(one.cfg)] for one in groups.values()]
    done = subprocess.run(
        [sys.executable, "-m", "jaxlin.study.sweep.trial"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if done.returncode:
        raise JaxlinError(f"the points could not be checked: {done.stderr.strip()[-2000:]}")
    found, here = json.loads(done.stdout.splitlines()[-1])
    refuse(said_once((repr(name), problem) for name, problem in found.items()))
    return Here(*here)


def tried(asked: Iterable[tuple[str, str]]) -> tuple[dict[str, str], Here]:
    """What is wrong with each config, by name; and what there is to train them on."""
    import jax

    from jaxlin.data import feed
    from jaxlin.train import writers
    from jaxlin.train.job import make_job
    from jaxlin.train.restore import open_checkpoints

    loaded = _once(feed.load)
    found, largest = {}, 0
    for name, text in asked:
        try:
            cfg = from_json(text, name)
            writers.check(cfg.log)
            rows = make_job(cfg, load=loaded).plan.rows
            largest = max(largest, sum(row.count for row in rows))
            if cfg.init_from is not None:
                from jaxlin.config.paths import user_path

                open_checkpoints(user_path(cfg.init_from))
        except JaxlinError as error:
            found[name] = str(error)
    devices = jax.devices()
    return found, Here(devices[0].platform, devices[0].device_kind, len(devices), largest)


def _once(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`load`, which reads the data of each config once."""
    configs: dict[str, Any] = {}

    @cache
    def read(text: str) -> Any:
        return load(configs[text])

    def loaded(config: Any) -> Any:
        text = json.dumps(plain(config), sort_keys=True)
        configs[text] = config
        return read(text)

    return loaded


if __name__ == "__main__":
    print(json.dumps(tried(json.load(sys.stdin))))
