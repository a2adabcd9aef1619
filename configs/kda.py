"""Kimi Delta Attention (Kimi Team 2025, arXiv 2510.26692).

The paper's models stack three such layers to one of full attention without positions; here:

    jaxlin train kda_340m model.pattern='3:1 block' model.attention.rope_base=none

Its full attention is latent (MLA) and its feed-forward a mixture of experts; these presets have
softmax attention and SwiGLU, and the recipe of the hybrid study at its smaller scale.
"""

from configs.fineweb import scale_340m
from jaxlin.config.mixers.kda import KDA
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward
from jaxlin.config.optimizers.muon import Muon
from jaxlin.config.run import Eval, RunConfig
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Stdlib


def kda_340m() -> RunConfig:
    """Pure KDA at the 340M scale (24 layers, heads 8 x 128), 386,994,368 parameters.

    Command: jaxlin train kda_340m
    """
    return scale_340m("kda_340m", mixer=KDA(heads=8))


def kda_tiny() -> RunConfig:
    """Hybrid byte model (3 kda : 1 softmax without positions) on the standard library's sources.

    Command: jaxlin train kda_tiny
    """
    return RunConfig(
        name="kda_tiny",
        steps=200,
        batch=8,
        context=256,
        model=LM(
            width=96,
            layers=4,
            pattern="3*mixer + attention",
            mixer=KDA(heads=3, head_dim=32),
            attention=Softmax(heads=3, rope_base=None),
            ffn=FeedForward(hidden=256),
            tied=True,
            dtype="float32",
        ),
        data=Stdlib(),
        optim=Muon(lr=2e-2, adam_lr=5e-3),
        schedule=Cosine(warmup=20),
        eval=Eval(every=200, batches=8),
    )
