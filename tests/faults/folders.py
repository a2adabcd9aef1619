"""What the tests of checkpoints do with the folders of a run."""

import jax.numpy as jnp
import numpy as np

from jaxlin.config.run import Checkpoint

POLICY = Checkpoint(every=2, minutes=None, keep=3, keep_best=0)


def files(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def names(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def largest(folder):
    return max(
        files(folder / "state"), key=lambda path: (path.parent.name == "d", path.stat().st_size)
    )


def truncate(step):
    path = largest(step)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


KINDS = ("float32", "bfloat16", "int32", "uint8")


def kinds():
    """Leaves of random bits, which are stored as they are."""
    bits = np.random.default_rng(0).integers(0, 256, (len(KINDS), 4096), dtype=np.uint8)
    return {
        "params": {k: jnp.asarray(b.view(jnp.dtype(k))) for k, b in zip(KINDS, bits, strict=True)}
    }
