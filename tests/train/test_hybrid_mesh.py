"""Every kind of layer in one model, trained on a mesh with all three axes."""

from dataclasses import replace

import numpy as np
import pytest

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
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
