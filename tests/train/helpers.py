"""A model of a few thousand parameters, random batches, and compiled steps shared by the tests."""

import functools
import io
from dataclasses import replace

import jax
import numpy as np

from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward, Loss
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import Mesh, RunConfig
from jaxlin.config.schedules.shapes import Constant
from jaxlin.data.batch import Batch
from jaxlin.parallel.mesh import make
from jaxlin.parallel.paths import flatten
from jaxlin.parallel.place import local_rows, place
from jaxlin.parallel.rules import batch_sharding
from jaxlin.train.plan import make_plan, place_state
from jaxlin.train.step import make_step

ONE = Mesh(data=1, allow_unused_devices=True)
# eps of the size of the gradients: the update is then a smooth function of the gradient, so that
# rounding errors stay rounding errors.
SMALL = RunConfig(
    name="small",
    steps=20,
    batch=8,
    context=16,
    model=LM(
        vocab=128,
        width=16,
        layers=2,
        pattern="full",
        attention=Softmax(heads=4, kv_heads=2),
        ffn=FeedForward(hidden=32),
        dtype="float32",
    ),
    loss=Loss(chunk=64),
    optim=AdamW(lr=1e-2, eps=1e-3),
    schedule=Constant(warmup=2),
    mesh=ONE,
)


def batch(step, rows=8, context=16, ragged=False):
    """Random tokens; `ragged`: some weights are 0, differently in each row."""
    random = np.random.default_rng(step)
    tokens = random.integers(0, 128, (rows, context + 1)).astype(np.int32)
    positions = np.broadcast_to(np.arange(context, dtype=np.int32), (rows, context)).copy()
    weights = np.ones((rows, context), np.float32)
    if ragged:
        weights = (random.random((rows, context)) < 0.7).astype(np.float32)
    ones = np.ones((rows, context), np.int32)
    return Batch(tokens[:, :-1], tokens[:, 1:], ones, positions, weights)


@functools.cache
def built(cfg):
    """(plan, mesh, compiled step) of a config."""
    mesh = make(cfg.mesh)
    plan = make_plan(cfg, mesh.shape)
    return plan, mesh, make_step(plan, mesh)


def start(cfg):
    """A fresh state."""
    plan, mesh, _ = built(cfg)
    return place_state(plan, mesh)


def run(cfg, state, steps, **kwargs):
    """The state and the losses after the given steps."""
    _, mesh, step = built(cfg)
    losses = []
    for n in steps:
        state, metrics = step(state, put(batch(n, **kwargs), mesh))
        losses.append(float(metrics["loss"]))
    return state, losses


def put(host, mesh):
    sharding = batch_sharding(mesh)
    total = len(host.tokens)
    return place(host, sharding, local_rows(sharding, total), total)


def host(tree):
    """Path -> numpy array."""
    return {path: np.asarray(leaf) for path, leaf in flatten(tree).items()}


def assert_equal(a, b):
    """Bitwise."""
    a, b = host(a), host(b)
    assert a.keys() == b.keys()
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], err_msg=path)


def distance(a, b):
    """Largest absolute difference of two trees."""
    a, b = host(a), host(b)
    assert a.keys() == b.keys()
    return max(float(np.max(np.abs(a[path] - b[path]), initial=0)) for path in a)


def with_mesh(**sizes):
    return replace(SMALL, mesh=Mesh(**sizes))


def snapshot(tree):
    """A copy that outlives donation."""
    return jax.tree.map(lambda a: np.asarray(a).copy(), tree)


class At(io.StringIO):
    """Does something when a step is shown, once."""

    def __init__(self, step, act):
        super().__init__()
        self.step, self.act = step, act

    def write(self, text):
        if text.startswith(f"step {self.step}/"):
            self.step = None
            self.act()
        return super().write(text)
