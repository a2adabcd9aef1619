"""Runs on FineWeb-Edu at the two scales of the hybrid study; what stands here is what they share.

`data.path` is the folder that `jaxlin data pack` wrote. What is recomputed (`remat`) or done in
pieces (the loss) is what lets a step of each model fit 16 v5e chips, at 1.3B 64 v5p chips.
"""

from typing import Any

from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, Loss
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import RunConfig
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Packed


def scale_340m(name: str, **model: Any) -> RunConfig:
    """20B tokens in steps of 256 x 2048, 24 layers of width 1024; `model`: other fields of LM."""
    return _run(name, model, width=1024, heads=16, batch=256, steps=38_147)


def scale_1b3(name: str, **model: Any) -> RunConfig:
    """100B tokens in steps of 512 x 2048, 24 layers of width 2048; `model`: other fields of LM."""
    return _run(name, model, width=2048, heads=32, batch=512, steps=95_368)


def _run(
    name: str, model: dict[str, Any], width: int, heads: int, batch: int, steps: int
) -> RunConfig:
    attention = Softmax(heads=heads)
    frame: dict[str, Any] = dict(
        vocab=32_000, width=width, layers=24, pattern="pure", attention=attention, remat="mixer"
    )
    return RunConfig(
        name=name,
        steps=steps,
        batch=batch,
        context=2048,
        model=LM(**(frame | model)),
        data=Packed(path="data/fineweb_edu"),
        loss=Loss(chunk=2048),
        optim=AdamW(lr=3e-4, weight_decay=0.01),
        schedule=Cosine(warmup=1000, final=0.1),
    )
