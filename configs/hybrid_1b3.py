"""Gated DeltaNet and softmax attention 3:1 at 1.3B: a model to plan pods with.

Sizes of the hybrid study (arXiv 2507.06457) for Gated DeltaNet at its larger scale: 21 layers, of
which 3, 7, 11, 15 and 19 (from 0) are softmax; it is `gated_deltanet_1b3` at its ratio '3:1 block'.
"""

from dataclasses import replace

from configs.hybrid_study import gated_deltanet_1b3
from jaxlin.config.run import Mesh, RunConfig


def hybrid_1b3() -> RunConfig:
    """Hybrid of 3 gated_deltanet : 1 softmax, 1.3B scale, 100B tokens in steps of 1M.

    Command: jaxlin compile hybrid_1b3 --topology v5e:16x16
    """
    cfg = gated_deltanet_1b3()
    model = replace(cfg.model, pattern="3:1 block")
    return replace(cfg, name="hybrid_1b3", model=model, mesh=Mesh(fsdp=16))
