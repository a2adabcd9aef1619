"""A Systematic Analysis of Hybrid Linear Attention (2025, arXiv 2507.06457): its models.

The study trains pure models and hybrids of r linear layers to one softmax layer on FineWeb-Edu,
20B tokens at the smaller scale and 100B at the larger (configs.fineweb). A hybrid of a preset here:

    jaxlin train gla_340m model.pattern='6:1 block' name=gla_340m_6to1

Where the paper is silent (learning rate, warm-up, weight decay, the smaller batch) the values are
those of the GLA recipe (arXiv 2312.06635) at 0.5M tokens a step. Vocabulary 32000 (Mistral
tokenizer), untied.
"""

from configs.fineweb import scale_1b3, scale_340m
from jaxlin.config.mixers.deltanet import DeltaNet
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.mixers.hgrn import HGRN
from jaxlin.config.mixers.hgrn2 import HGRN2
from jaxlin.config.mixers.retnet import RetNet
from jaxlin.config.model import FeedForward
from jaxlin.config.run import RunConfig


def transformer_340m() -> RunConfig:
    """Softmax Transformer of the hybrid study, 373,867,520 parameters.

    Command: jaxlin train transformer_340m
    """
    return scale_340m("transformer_340m", pattern="full")


def gla_340m() -> RunConfig:
    """Pure GLA of the hybrid study, 374,475,776 parameters.

    Command: jaxlin train gla_340m
    """
    return scale_340m("gla_340m", mixer=GLA(heads=4))


def hgrn_340m() -> RunConfig:
    """Pure HGRN of the hybrid study (Gamma included), 373,916,672 parameters.

    Command: jaxlin train hgrn_340m
    """
    return scale_340m("hgrn_340m", mixer=HGRN())


def retnet_340m() -> RunConfig:
    """Pure RetNet of the hybrid study (feed-forward of ratio 2), 380,165,120 parameters.

    Command: jaxlin train retnet_340m
    """
    return scale_340m("retnet_340m", mixer=RetNet(heads=8), ffn=FeedForward(ratio=2.0))


def hgrn2_340m() -> RunConfig:
    """Pure HGRN-2 of the hybrid study (Gamma included), 373,916,672 parameters.

    Command: jaxlin train hgrn2_340m
    """
    return scale_340m("hgrn2_340m", mixer=HGRN2(heads=8))


def deltanet_340m() -> RunConfig:
    """Pure DeltaNet of the hybrid study, 374,362,112 parameters.

    Command: jaxlin train deltanet_340m
    """
    return scale_340m("deltanet_340m", mixer=DeltaNet(heads=8))


def gated_deltanet_340m() -> RunConfig:
    """Pure Gated DeltaNet of the hybrid study (21 layers, heads 6 x 128), 379,888,124 parameters.

    Command: jaxlin train gated_deltanet_340m
    """
    return scale_340m("gated_deltanet_340m", layers=21, mixer=GatedDeltaNet(heads=6, head_dim=128))


def transformer_1b3() -> RunConfig:
    """Softmax Transformer of the hybrid study, 1,364,297,728 parameters.

    Command: jaxlin train transformer_1b3 mesh.fsdp=8
    """
    return scale_1b3("transformer_1b3", pattern="full")


def gla_1b3() -> RunConfig:
    """Pure GLA of the hybrid study, 1,365,514,240 parameters.

    Command: jaxlin train gla_1b3 mesh.fsdp=8
    """
    return scale_1b3("gla_1b3", mixer=GLA(heads=4))


def hgrn_1b3() -> RunConfig:
    """Pure HGRN of the hybrid study (Gamma included), 1,364,396,032 parameters.

    Command: jaxlin train hgrn_1b3 mesh.fsdp=8
    """
    return scale_1b3("hgrn_1b3", mixer=HGRN())


def retnet_1b3() -> RunConfig:
    """Pure RetNet of the hybrid study (feed-forward of ratio 2), 1,351,727,104 parameters.

    Command: jaxlin train retnet_1b3 mesh.fsdp=8
    """
    return scale_1b3("retnet_1b3", mixer=RetNet(heads=8), ffn=FeedForward(ratio=2.0))


def hgrn2_1b3() -> RunConfig:
    """Pure HGRN-2 of the hybrid study (Gamma included), 1,364,396,032 parameters.

    Command: jaxlin train hgrn2_1b3 mesh.fsdp=8
    """
    return scale_1b3("hgrn2_1b3", mixer=HGRN2(heads=16))


def deltanet_1b3() -> RunConfig:
    """Pure DeltaNet of the hybrid study, 1,365,677,056 parameters.

    Command: jaxlin train deltanet_1b3 mesh.fsdp=8
    """
    return scale_1b3("deltanet_1b3", mixer=DeltaNet(heads=16))


def gated_deltanet_1b3() -> RunConfig:
    """Pure Gated DeltaNet of the hybrid study (21 layers, heads 6 x 256), 1,387,348,732 parameters.

    Command: jaxlin train gated_deltanet_1b3 mesh.fsdp=8
    """
    return scale_1b3("gated_deltanet_1b3", layers=21, mixer=GatedDeltaNet(heads=6, head_dim=256))
