"""Gated DeltaNet (Yang et al. 2025, arXiv 2412.06464): the paper's own recipe and models.

FineWeb-Edu, Llama-2 tokenizer (32000), context 4096, steps of 0.5M tokens, AdamW (0.9, 0.95) with
peak 4e-4, cosine to 10 %, warm-up 1B tokens. Sizes as in the official code: keys 0.75, values 1.5
times the width, in 9 heads. `data.path` is the folder that `jaxlin data pack` wrote.
"""

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import RunConfig
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Packed


def gdn_paper_400m() -> RunConfig:
    """Gated DeltaNet of the ablations: width 1536, 11 layers, 15B tokens.

    Command: jaxlin train gdn_paper_400m
    """
    model = LM(
        vocab=32_000,
        width=1536,
        layers=11,
        pattern="pure",
        mixer=GatedDeltaNet(heads=9, head_dim=128),
        ffn=FeedForward(hidden=6144),
    )
    return _run("gdn_paper_400m", model, steps=28_611)


def gdn_paper_1b3() -> RunConfig:
    """Gated DeltaNet, 1.3B scale: width 2400, 16 layers, 100B tokens.

    Command: jaxlin train gdn_paper_1b3 mesh.fsdp=8
    """
    return _run("gdn_paper_1b3", _large("pure"), steps=190_735)


def gdn_h1_paper_1b3() -> RunConfig:
    """Gated DeltaNet-H1: gated_deltanet alternating with softmax over windows of 2048.

    Command: jaxlin train gdn_h1_paper_1b3 mesh.fsdp=8
    """
    return _run("gdn_h1_paper_1b3", _large("mixer + attention"), steps=190_735)


def _large(pattern: str) -> LM:
    return LM(
        vocab=32_000,
        width=2400,
        layers=16,
        pattern=pattern,
        mixer=GatedDeltaNet(heads=9, head_dim=200),
        attention=Softmax(heads=16, window=2048),
        ffn=FeedForward(hidden=5888),
    )


def _run(name: str, model: LM, steps: int) -> RunConfig:
    return RunConfig(
        name=name,
        steps=steps,
        batch=128,
        context=4096,
        model=model,
        data=Packed(path="data/fineweb_edu"),
        optim=AdamW(lr=4e-4, weight_decay=0.1),
        schedule=Cosine(warmup=1907, final=0.1),
    )
