"""Whether runs can be trained together, as one program on one device. Imports no jax."""

from __future__ import annotations

from collections.abc import Sequence

from jaxlin.config.points import SEED, canonical_hash
from jaxlin.config.run import RunConfig


def obstacles(cfgs: Sequence[RunConfig], devices: int = 1) -> list[str]:
    """Why they have to be trained one by one, each as `path: sentence`; [] if nothing is against
    training them together."""
    cfg = cfgs[0]
    found = []
    if len({canonical_hash(c, (SEED,)) for c in cfgs}) > 1:
        found.append("the configs differ in more than their seed")
    sizes = [cfg.mesh.data, cfg.mesh.fsdp, cfg.mesh.seq, cfg.mesh.tensor]
    if max(sizes) > 1 or (devices > 1 and cfg.mesh.data == -1):
        found.append("mesh: takes more than one device")
    if "rewind" in (cfg.guard.nonfinite, cfg.guard.spike.action):
        found.append("guard: a rewind takes one run back, not all")
    if cfg.init_from is not None:
        found.append("init_from: starts from another run's parameters")
    if cfg.adapters:
        found.append("adapters: are drawn and trained by one run")
    if cfg.log.wandb is not None:
        found.append("log.wandb: takes one run a process")
    return found
