"""A Systematic Analysis of Hybrid Linear Attention (2025, arXiv 2507.06457): its models.

The study trains pure models and hybrids of r linear layers to one softmax layer on FineWeb-Edu,
20B tokens at the smaller scale and 100B at the larger. A hybrid of a preset here:

    jaxlin train gla_340m model.pattern='6:1 block' name=gla_340m_6to1

Where the paper is silent (learning rate, warm-up, weight decay, the smaller batch) the values are
those of the GLA recipe (arXiv 2312.06635) at 0.5M tokens a step. Vocabulary 32000 (Mistral
tokenizer), untied. `data.path` is the folder that `jaxlin data pack` wrote.
"""

from jaxlin.config.mixers.deltanet import DeltaNet
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.mixers.hgrn import HGRN
from jaxlin.config.mixers.hgrn2 import HGRN2
from jaxlin.config.mixers.retnet import RetNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import RunConfig
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Packed


def _small(name: str, model: LM) -> RunConfig:
    """20B tokens in steps of 256 x 2048."""
    return _run(name, model, batch=256, steps=38_147)


def _large(name: str, model: LM) -> RunConfig:
    """100B tokens in steps of 512 x 2048."""
    return _run(name, model, batch=512, steps=95_368)


def _run(name: str, model: LM, batch: int, steps: int) -> RunConfig:
    return RunConfig(
        name=name,
        steps=steps,
        batch=batch,
        context=2048,
        model=model,
        data=Packed(path="data/fineweb_edu"),
        optim=AdamW(lr=3e-4, weight_decay=0.01),
        schedule=Cosine(warmup=1000, final=0.1),
    )


def transformer_340m() -> RunConfig:
    """Softmax Transformer of the hybrid study, 373,867,520 parameters.

    Command: jaxlin train transformer_340m
    """
    model = LM(vocab=32_000, width=1024, layers=24, pattern="full", attention=Softmax(heads=16))
    return _small("transformer_340m", model)


def gla_340m() -> RunConfig:
    """Pure GLA of the hybrid study, 374,475,776 parameters.

    Command: jaxlin train gla_340m
    """
    model = LM(
        vocab=32_000,
        width=1024,
        layers=24,
        pattern="pure",
        mixer=GLA(heads=4),
        attention=Softmax(heads=16),
    )
    return _small("gla_340m", model)


def hgrn_340m() -> RunConfig:
    """Pure HGRN of the hybrid study (Gamma included), 373,916,672 parameters.

    Command: jaxlin train hgrn_340m
    """
    model = LM(
        vocab=32_000,
        width=1024,
        layers=24,
        pattern="pure",
        mixer=HGRN(),
        attention=Softmax(heads=16),
    )
    return _small("hgrn_340m", model)


def retnet_340m() -> RunConfig:
    """Pure RetNet of the hybrid study (feed-forward of ratio 2), 380,165,120 parameters.

    Command: jaxlin train retnet_340m
    """
    model = LM(
        vocab=32_000,
        width=1024,
        layers=24,
        pattern="pure",
        mixer=RetNet(heads=8),
        attention=Softmax(heads=16),
        ffn=FeedForward(ratio=2.0),
    )
    return _small("retnet_340m", model)


def hgrn2_340m() -> RunConfig:
    """Pure HGRN-2 of the hybrid study (Gamma included), 373,916,672 parameters.

    Command: jaxlin train hgrn2_340m
    """
    model = LM(
        vocab=32_000,
        width=1024,
        layers=24,
        pattern="pure",
        mixer=HGRN2(heads=8),
        attention=Softmax(heads=16),
    )
    return _small("hgrn2_340m", model)


def deltanet_340m() -> RunConfig:
    """Pure DeltaNet of the hybrid study, 374,362,112 parameters.

    Command: jaxlin train deltanet_340m
    """
    model = LM(
        vocab=32_000,
        width=1024,
        layers=24,
        pattern="pure",
        mixer=DeltaNet(heads=8),
        attention=Softmax(heads=16),
    )
    return _small("deltanet_340m", model)


def gated_deltanet_340m() -> RunConfig:
    """Pure Gated DeltaNet of the hybrid study (21 layers, heads 6 x 128), 379,888,124 parameters.

    Command: jaxlin train gated_deltanet_340m
    """
    model = LM(
        vocab=32_000,
        width=1024,
        layers=21,
        pattern="pure",
        mixer=GatedDeltaNet(heads=6, head_dim=128),
        attention=Softmax(heads=16),
    )
    return _small("gated_deltanet_340m", model)


def transformer_1b3() -> RunConfig:
    """Softmax Transformer of the hybrid study, 1,364,297,728 parameters.

    Command: jaxlin train transformer_1b3 mesh.fsdp=8
    """
    model = LM(vocab=32_000, width=2048, layers=24, pattern="full", attention=Softmax(heads=32))
    return _large("transformer_1b3", model)


def gla_1b3() -> RunConfig:
    """Pure GLA of the hybrid study, 1,365,514,240 parameters.

    Command: jaxlin train gla_1b3 mesh.fsdp=8
    """
    model = LM(
        vocab=32_000,
        width=2048,
        layers=24,
        pattern="pure",
        mixer=GLA(heads=4),
        attention=Softmax(heads=32),
    )
    return _large("gla_1b3", model)


def hgrn_1b3() -> RunConfig:
    """Pure HGRN of the hybrid study (Gamma included), 1,364,396,032 parameters.

    Command: jaxlin train hgrn_1b3 mesh.fsdp=8
    """
    model = LM(
        vocab=32_000,
        width=2048,
        layers=24,
        pattern="pure",
        mixer=HGRN(),
        attention=Softmax(heads=32),
    )
    return _large("hgrn_1b3", model)


def retnet_1b3() -> RunConfig:
    """Pure RetNet of the hybrid study (feed-forward of ratio 2), 1,351,727,104 parameters.

    Command: jaxlin train retnet_1b3 mesh.fsdp=8
    """
    model = LM(
        vocab=32_000,
        width=2048,
        layers=24,
        pattern="pure",
        mixer=RetNet(heads=8),
        attention=Softmax(heads=32),
        ffn=FeedForward(ratio=2.0),
    )
    return _large("retnet_1b3", model)


def hgrn2_1b3() -> RunConfig:
    """Pure HGRN-2 of the hybrid study (Gamma included), 1,364,396,032 parameters.

    Command: jaxlin train hgrn2_1b3 mesh.fsdp=8
    """
    model = LM(
        vocab=32_000,
        width=2048,
        layers=24,
        pattern="pure",
        mixer=HGRN2(heads=16),
        attention=Softmax(heads=32),
    )
    return _large("hgrn2_1b3", model)


def deltanet_1b3() -> RunConfig:
    """Pure DeltaNet of the hybrid study, 1,365,677,056 parameters.

    Command: jaxlin train deltanet_1b3 mesh.fsdp=8
    """
    model = LM(
        vocab=32_000,
        width=2048,
        layers=24,
        pattern="pure",
        mixer=DeltaNet(heads=16),
        attention=Softmax(heads=32),
    )
    return _large("deltanet_1b3", model)


def gated_deltanet_1b3() -> RunConfig:
    """Pure Gated DeltaNet of the hybrid study (21 layers, heads 6 x 256), 1,387,348,732 parameters.

    Command: jaxlin train gated_deltanet_1b3 mesh.fsdp=8
    """
    model = LM(
        vocab=32_000,
        width=2048,
        layers=21,
        pattern="pure",
        mixer=GatedDeltaNet(heads=6, head_dim=256),
        attention=Softmax(heads=32),
    )
    return _large("gated_deltanet_1b3", model)
