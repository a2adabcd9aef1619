"""The same training on any mesh, and the layout that each mesh promises."""

from dataclasses import replace

import numpy as np
import pytest

from jaxlin.parallel.paths import flatten
from tests.train.helpers import SMALL, built, distance, run, start, with_mesh

MESHES = {
    "8x1x1": dict(data=8),
    "2x4x1": dict(data=2, fsdp=4),
    "2x2x2": dict(data=2, fsdp=2, tensor=2),
}
# Five steps of float32 sums in another order. A loss near log(128) = 4.9 has a last place of 5e-7;
# with eps = 1e-3 a gradient that is off by 1e-8 (the last place of one near 0.1) moves a parameter
# by lr * 1e-8 / eps = 1e-7 in a step.
LOSS_BOUND = 4e-6
PARAM_BOUND = 4e-7


@pytest.fixture(scope="module")
def one_device():
    return run(SMALL, start(SMALL), range(5))


@pytest.mark.parametrize(
    "mesh",
    [
        pytest.param(mesh, id=name, marks=[] if name == "2x4x1" else [pytest.mark.slow])
        for name, mesh in MESHES.items()
    ],
)
def test_agrees_with_one_device(mesh, one_device):
    cfg = with_mesh(**mesh)
    state, losses = run(cfg, start(cfg), range(5))
    reference, expected = one_device
    assert np.max(np.abs(np.subtract(losses, expected))) < LOSS_BOUND
    assert distance(state.params, reference.params) < PARAM_BOUND
    assert losses[-1] != losses[0]


def test_every_leaf_is_where_the_plan_says():
    cfg = with_mesh(data=2, fsdp=2, tensor=2)
    plan, mesh, step = built(cfg)
    state, _ = run(cfg, start(cfg), range(1))
    wanted = flatten(plan.shardings(mesh))
    for path, leaf in flatten(state).items():
        assert leaf.sharding.is_equivalent_to(wanted[path], leaf.ndim), path
    kernel = state.params["blocks_0"]["layer_0"]["mixer"]["q"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (2, 8, 8)
    moments = [x for p, x in flatten(state.opt_state).items() if p.endswith("mixer/q/kernel")]
    assert len(moments) == 2  # Adam's mu and nu are split as their parameter is
    assert all(m.addressable_shards[0].data.shape == (2, 8, 8) for m in moments)


def test_the_same_seed_starts_alike_on_any_mesh():
    other = with_mesh(data=2, fsdp=2, tensor=2)
    assert distance(start(SMALL).params, start(other).params) == 0
    seeded = replace(SMALL, seed=1)
    assert distance(start(SMALL).params, start(seeded).params) > 0
