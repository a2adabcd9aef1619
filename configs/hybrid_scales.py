"""The grid of the hybrid study (arXiv 2507.06457) at scales below the paper's, and its 340M point.

hybrid_340m and hybrid_1b3 (in its own file) are Gated DeltaNet at 3:1; the other mixers of the grid
have presets with their own sizes, MIXER_340m and MIXER_1b3. The paper is silent on learning rate,
warm-up, weight decay, vocabulary and the exact layers; what is chosen is written in
configs.hybrid_study. The small scales keep that recipe apart from the rate, which is larger for
smaller models, and change the mixer by model.mixer=KIND(...).
"""

from dataclasses import replace

from configs import hybrid_study
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import Checkpoint, Eval, Log, Mesh, RunConfig
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Stdlib


def hybrid_340m() -> RunConfig:
    """Hybrid of 3 gated_deltanet : 1 softmax, 340M scale, 20B tokens in steps of 0.5M.

    Command: jaxlin compile hybrid_340m --topology v5e:4x4
    """
    cfg = hybrid_study.gated_deltanet_340m()
    model = replace(cfg.model, pattern="3:1 block")
    return replace(cfg, name="hybrid_340m", model=model, mesh=Mesh(fsdp=4))


def hybrid_small() -> RunConfig:
    """Hybrid of 3 gla : 1 softmax, width 384, 12 layers, for one GPU: 2000 steps of 64 x 512 bytes.

    Command: jaxlin train hybrid_small
    """
    return RunConfig(
        name="hybrid_small",
        steps=2000,
        batch=64,
        context=512,
        model=LM(
            width=384,
            layers=12,
            pattern="3:1 block",
            mixer=GLA(heads=4),
            attention=Softmax(heads=6),
        ),
        data=Stdlib(),
        optim=AdamW(lr=1e-3, weight_decay=0.01),
        schedule=Cosine(warmup=100, final=0.1),
        eval=Eval(every=500),
    )


def hybrid_tiny() -> RunConfig:
    """Hybrid of 3 gla : 1 softmax, width 64, 4 layers, for two cores: 300 steps of 16 x 128 bytes.

    Command: jaxlin train hybrid_tiny
    """
    return RunConfig(
        name="hybrid_tiny",
        steps=300,
        batch=16,
        context=128,
        model=LM(
            width=64,
            layers=4,
            pattern="3:1 block",
            mixer=GLA(heads=2),
            attention=Softmax(heads=2),
            ffn=FeedForward(hidden=192),
            dtype="float32",
        ),
        data=Stdlib(max_bytes=4_000_000),
        optim=AdamW(lr=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=30, final=0.1),
        checkpoint=Checkpoint(every=300),
        eval=Eval(every=100, batches=8),
        log=Log(tensorboard=False, stats=False),
    )
