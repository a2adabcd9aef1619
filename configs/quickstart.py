"""Small models on the text that every Python carries: one to try, one for tests."""

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward, Loss
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.optimizers.muon import Muon
from jaxlin.config.run import Checkpoint, Eval, Log, RunConfig
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Stdlib


def quickstart() -> RunConfig:
    """Hybrid byte model (3 gated_deltanet : 1 softmax) on the standard library's sources.

    Command: make quickstart, or  jaxlin train quickstart
    """
    return RunConfig(
        name="quickstart",
        steps=720,
        batch=8,
        context=256,
        model=LM(
            width=128,
            layers=4,
            pattern="3*mixer + attention",
            mixer=GatedDeltaNet(heads=2, head_dim=48),
            attention=Softmax(heads=4),
            ffn=FeedForward(hidden=384),
            tied=True,
            dtype="float32",
        ),
        data=Stdlib(),
        optim=Muon(lr=2e-2, adam_lr=5e-3),
        schedule=Cosine(warmup=30),
        checkpoint=Checkpoint(every=360),
        eval=Eval(every=240, batches=16),
        log=Log(samples=160),
    )


def tiny() -> RunConfig:
    """The same kinds of layers at width 32, for tests: 20 steps of 4 x 32 bytes.

    Command: jaxlin train tiny
    """
    return RunConfig(
        name="tiny",
        steps=20,
        batch=4,
        context=32,
        model=LM(
            width=32,
            layers=4,
            pattern="3*mixer + attention",
            mixer=GatedDeltaNet(heads=2, head_dim=8),
            attention=Softmax(heads=2),
            ffn=FeedForward(hidden=64),
            dtype="float32",
        ),
        loss=Loss(chunk=64),
        data=Stdlib(max_bytes=400_000, held_out=0.2),
        optim=AdamW(lr=3e-3),
        schedule=Cosine(warmup=2),
        checkpoint=Checkpoint(every=10, minutes=None),
        eval=Eval(every=10, batches=2),
        log=Log(every=1, tensorboard=False, stats=False),
    )
