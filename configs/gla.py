"""Gated linear attention (Yang et al. 2024, arXiv 2312.06635): the paper's own recipe.

SlimPajama, Mistral tokenizer (32000), context 2048, AdamW, cosine from a peak of 3e-4 to 3e-5. The
paper warms up from 3e-5, these presets from 0. `data.path` is the folder that `jaxlin data pack`
wrote. The ablation ladder of the gate: model.mixer.gate=vector|scalar|constant|none.
"""

from jaxlin.config.mixers.gla import GLA
from jaxlin.config.model import LM
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import RunConfig
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Packed


def gla_paper_340m() -> RunConfig:
    """GLA, 340M scale: 15B tokens in steps of 0.5M, warm-up 0.5B.

    Command: jaxlin train gla_paper_340m
    """
    return _run("gla_paper_340m", width=1024, batch=256, steps=28_611, warmup=954)


def gla_paper_1b3() -> RunConfig:
    """GLA, 1.3B scale: 100B tokens in steps of 2M, warm-up 1B.

    Command: jaxlin train gla_paper_1b3 mesh.fsdp=8
    """
    return _run("gla_paper_1b3", width=2048, batch=1024, steps=47_684, warmup=477)


def _run(name: str, width: int, batch: int, steps: int, warmup: int) -> RunConfig:
    return RunConfig(
        name=name,
        steps=steps,
        batch=batch,
        context=2048,
        model=LM(vocab=32_000, width=width, layers=24, pattern="pure", mixer=GLA(heads=4)),
        data=Packed(path="data/slimpajama"),
        optim=AdamW(lr=3e-4, weight_decay=0.01),
        schedule=Cosine(warmup=warmup, final=0.1),
    )
