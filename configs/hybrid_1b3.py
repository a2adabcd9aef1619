"""Gated DeltaNet and softmax attention 3:1 at 1.3B: a model to plan pods with.

Sizes of the hybrid study (arXiv 2507.06457) for Gated DeltaNet at its larger scale: 21 layers, of
which 3, 7, 11, 15 and 19 (from 0) are softmax; it is `gated_deltanet_1b3` at its ratio '3:1 block'.
"""

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, Loss
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import Mesh, RunConfig
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Packed


def hybrid_1b3() -> RunConfig:
    """Hybrid of 3 gated_deltanet : 1 softmax, 1.3B scale, 100B tokens in steps of 1M.

    Command: jaxlin compile hybrid_1b3 --topology v5e:16x16
    """
    return RunConfig(
        name="hybrid_1b3",
        steps=95_368,
        batch=512,
        context=2048,
        model=LM(
            vocab=32_000,
            width=2048,
            layers=21,
            pattern="3:1 block",
            mixer=GatedDeltaNet(heads=6, head_dim=256),
            attention=Softmax(heads=32),
            remat="mixer",
        ),
        loss=Loss(chunk=2048),
        data=Packed(path="data/fineweb_edu"),
        optim=AdamW(lr=3e-4, weight_decay=0.01),
        schedule=Cosine(warmup=1000, final=0.1),
        mesh=Mesh(fsdp=16),
    )
