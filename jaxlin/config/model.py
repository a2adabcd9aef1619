"""Config of the language model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from jaxlin.config.kinds import AnyMixer
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.types import Depth, NonNegativeFloat, PositiveFloat, PositiveInt

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class FeedForward:
    """SwiGLU: down(silu(gate x) * up x), without biases."""

    ratio: PositiveFloat = 4.0
    hidden: PositiveInt | None = None  # None: 256 * ceil(int(width * ratio * 2/3) / 256)

    def width(self, d: int) -> int:
        """Inner width for a model of width d."""
        return self.hidden or 256 * math.ceil(int(d * self.ratio * 2 / 3) / 256)


@dataclass(frozen=True, kw_only=True)
class LM:
    """A decoder: embedding, blocks of mixer and feed-forward by pattern, norm, head."""

    vocab: PositiveInt | None = None  # None: what the tokenizer of the data has
    width: PositiveInt = 256
    layers: Depth = 4
    # Names: 'mixer' and 'attention' (the two fields below), any registered kind, kind(field=value).
    # '3*mixer + attention' | ratio '3:1 block' | 'pure' | 'full' | a tuple with a name a layer |
    # 'mixer with attention at 3 7' | '3:1 block of gla + hgrn with softmax(window=64) + softmax'.
    pattern: str | tuple[str, ...] = "3*mixer + attention"
    mixer: AnyMixer = field(default_factory=GatedDeltaNet)
    attention: AnyMixer = field(default_factory=Softmax)
    ffn: FeedForward = field(default_factory=FeedForward)
    norm: Literal["pre", "post", "peri"] = "pre"
    norm_eps: PositiveFloat = 1e-6
    tied: bool = False
    init_std: PositiveFloat = 0.02
    rescale_residual: bool = False  # o and down start smaller by sqrt(2 * layers)
    dtype: Dtype = "bfloat16"  # of the computation; parameters are float32
    remat: Literal["none", "full", "dots", "mixer"] = "none"


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Next-token cross-entropy over chunks of tokens."""

    z: NonNegativeFloat = 0.0  # weight of mean(logsumexp(logits)^2)
    chunk: PositiveInt = 1024  # tokens a device whose logits exist at one time
