"""Training with sequences split over devices: the same numbers, and what is sent."""

from dataclasses import replace

import numpy as np
import pytest

from jaxlin.config.exchange import Exchange
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.run import Mesh, RunConfig
from jaxlin.parallel.mesh import make
from jaxlin.train.plan import make_plan
from jaxlin.train.step import make_step
from tests.kernels_pallas.exchange.census import collectives
from tests.train.helpers import SMALL, batch, distance, run, start

# As in test_meshes: float32 steps summed in another order.
LOSS_BOUND, PARAM_BOUND = 4e-6, 2e-6
KINDS = dict(mixer=GatedDeltaNet(heads=2, head_dim=4))


def hybrid(mesh: Mesh, pattern: str, layers: int, **model) -> RunConfig:
    changes = replace(SMALL.model, layers=layers, pattern=pattern, **KINDS, **model)
    return replace(SMALL, model=changes, mesh=mesh)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mesh",
    [
        Mesh(data=2, fsdp=1, seq=2, tensor=2),
        pytest.param(Mesh(data=1, seq=8), marks=pytest.mark.long),
        pytest.param(Mesh(data=1, fsdp=2, seq=4), marks=pytest.mark.long),
    ],
)
def test_three_steps_equal_those_of_one_device(mesh: Mesh) -> None:
    alone = hybrid(SMALL.mesh, "gla(heads=2) + mixer + attention", 3)
    split = replace(alone, mesh=mesh)
    reference, expected = run(alone, start(alone), range(3))
    state, losses = run(split, start(split), range(3))
    assert np.max(np.abs(np.subtract(losses, expected))) < LOSS_BOUND
    assert distance(state.params, reference.params) < PARAM_BOUND


def program(cfg: RunConfig) -> str:
    mesh = make(cfg.mesh)
    plan = make_plan(cfg, mesh.shape)
    tokens = batch(0, cfg.batch, cfg.context)
    return make_step(plan, mesh).lower(plan.shapes, tokens).compile().as_text()


LAYERS = 4
STATE = "f32[8,2,4,8]"  # [b, h, k, v]
LATER = [
    pytest.param("full", "all_gather", marks=pytest.mark.slow),
    pytest.param("mixer", "hierarchical", marks=pytest.mark.slow),
    pytest.param("full", "hierarchical", marks=pytest.mark.long),
    pytest.param("dots", "all_gather", marks=pytest.mark.long),
    pytest.param("dots", "hierarchical", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("remat", "method"), [("mixer", "all_gather"), *LATER])
@pytest.mark.parametrize("pattern", ["gla(heads=2)", pytest.param("mixer", marks=pytest.mark.slow)])
def test_a_layer_gathers_once_there_and_once_back(pattern: str, remat: str, method: str) -> None:
    """In a scan over layers and in its transpose, whatever is recomputed; nothing else is sent but
    gradients of parameters, halos of convolutions, and scalars."""
    mesh = Mesh(data=1, seq=8, exchange=Exchange(method=method))
    text = program(hybrid(mesh, pattern, LAYERS, remat=remat))
    sent = collectives(text, ranks=8)
    levels = {"all_gather": 1, "hierarchical": 2}[method]
    gathers = [found for found in sent if found.op == "all-gather"]
    assert sum(found.times for found in gathers) == 2 * LAYERS * levels
    assert {found.op for found in sent} <= {"all-gather", "all-reduce", "collective-permute"}
    sums = [line for line in text.splitlines() if " all-reduce(" in line]
    assert sums and not any(STATE in line.split(" all-reduce(")[0] for line in sums)
