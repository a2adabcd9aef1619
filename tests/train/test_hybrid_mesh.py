"""Every kind of layer in one model, trained on a mesh with all three axes."""

from dataclasses import replace

import numpy as np
import pytest

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import Mesh
from tests.train.helpers import SMALL, distance, run, start

MODEL = replace(
    SMALL.model,
    layers=3,
    pattern="gla(heads=2) + mixer + attention",
    mixer=GatedDeltaNet(heads=2, head_dim=4),
)
HYBRID = replace(SMALL, model=MODEL)
# As in test_meshes: five float32 steps summed in another order.
LOSS_BOUND, PARAM_BOUND = 4e-6, 2e-6


@pytest.mark.slow
def test_hybrid_agrees_with_one_device_on_2x2x2():
    cfg = replace(HYBRID, mesh=Mesh(data=2, fsdp=2, tensor=2))
    reference, expected = run(HYBRID, start(HYBRID), range(5))
    state, losses = run(cfg, start(cfg), range(5))
    assert np.max(np.abs(np.subtract(losses, expected))) < LOSS_BOUND
    assert distance(state.params, reference.params) < PARAM_BOUND
    assert losses[-1] < losses[0]


@pytest.mark.long
def test_what_layers_know_of_their_depth_is_the_same_on_2x2x2():
    """A parameter of the whole depth, and slopes of heads, split over tensor and sequence."""
    model = replace(MODEL, pattern="hgrn + hgrn2(heads=2) + lightning(heads=2, lrpe=true)")
    # An eps that makes the steps the gradients': Adam would blow up the rounding of small ones.
    alone = replace(SMALL, model=model, optim=AdamW(lr=0.3, eps=1.0))
    split = replace(alone, mesh=Mesh(data=1, fsdp=2, seq=2, tensor=2))
    reference, expected = run(alone, start(alone), range(3))
    state, losses = run(split, start(split), range(3))
    assert np.max(np.abs(np.subtract(losses, expected))) < LOSS_BOUND
    assert distance(state.params, reference.params) < PARAM_BOUND
    assert np.any(np.asarray(state.params["depth"]["lower_bounds"]))  # it is trained
