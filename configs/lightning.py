"""Lightning attention in the manner of TransNormerLLM (Qin et al. 2024, arXiv 2401.04658).

Learned positions in the first layer alone; a decay that fades with depth. The block is this
library's (RMSNorm, SwiGLU) where TransNormerLLM has norms without scales and a feed-forward without
activation; the recipe is that of the hybrid study at its smaller scale.
"""

from configs.fineweb import scale_340m
from jaxlin.config.mixers.lightning import Lightning
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward
from jaxlin.config.optimizers.muon import Muon
from jaxlin.config.run import Eval, RunConfig
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Stdlib


def lightning_340m() -> RunConfig:
    """Pure lightning attention at the 340M scale (24 layers, 8 heads), 380,160,000 parameters.

    Command: jaxlin train lightning_340m
    """
    return scale_340m(
        "lightning_340m",
        pattern="lightning(heads=8, lrpe=true) + 23*mixer",
        mixer=Lightning(heads=8),
        ffn=FeedForward(hidden=2560),  # 5 d^2 in the mixer leave this much for 12 d^2 a block
    )


def lightning_tiny() -> RunConfig:
    """Byte model of four lightning layers on the standard library's sources.

    Command: jaxlin train lightning_tiny
    """
    return RunConfig(
        name="lightning_tiny",
        steps=200,
        batch=8,
        context=256,
        model=LM(
            width=96,
            layers=4,
            pattern="lightning(heads=3, lrpe=true) + 3*mixer",
            mixer=Lightning(heads=3),
            attention=Softmax(heads=3),
            ffn=FeedForward(hidden=256),
            tied=True,
            dtype="float32",
        ),
        data=Stdlib(),
        optim=Muon(lr=2e-2, adam_lr=5e-3),
        schedule=Cosine(warmup=20),
        eval=Eval(every=200, batches=8),
    )
