"""The hybrid study's own grid: six mixers, five ratios and the Transformer at 340M and 1.3B.

Layout `period`, by which every ratio divides 24 layers; Gated DeltaNet has 21 layers, in which 24:1
has no place by `period`, and stands `last` there.

jaxlin sweep experiments/hybrid_study/paper.py --plan
"""

from jaxlin.config.points import Point, product, seeds

MIXERS = ("hgrn", "retnet", "gla", "hgrn2", "deltanet", "gated_deltanet")
RATIOS = ("24:1", "12:1", "6:1", "3:1")
SCALES = {"340M": "340m", "1.3B": "1b3"}


def points() -> list[Point]:
    """62 points: each model of the paper once."""
    found: list[Point] = []
    for scale, suffix in SCALES.items():
        for mixer in MIXERS:
            found += _one(mixer, "pure", "none", scale, f"{mixer}_{suffix}", "pure")
            for ratio in RATIOS:
                layout = "last" if (mixer, ratio) == ("gated_deltanet", "24:1") else "period"
                words = f"{ratio} {layout}"
                found += _one(mixer, ratio, layout, scale, f"{mixer}_{suffix}", words)
        found += _one("softmax", "full", "none", scale, f"transformer_{suffix}", "full")
    return found


def _one(mixer: str, ratio: str, layout: str, scale: str, preset: str, pattern: str) -> list[Point]:
    fixed = {
        "mixer": {mixer: ()},
        "ratio": {ratio: f"model.pattern={pattern}"},
        "layout": {layout: ()},
        "scale": {scale: ()},
        "task": {"lm": ()},
    }
    return product(preset, **fixed, seed=seeds(1))
