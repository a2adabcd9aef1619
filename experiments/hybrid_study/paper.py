"""The hybrid study's own grid: six mixers, five ratios and the Transformer at 340M and 1.3B.

Layout `period`, by which every ratio divides 24 layers; Gated DeltaNet has 21 layers, in which 24:1
has no place by `period`, and stands `last` there. Meshes for 16 v5e chips (340M) and 64 v5p (1.3B).

jaxlin sweep experiments/hybrid_study/paper.py --plan mesh.fsdp=1
"""

from jaxlin.config.points import Point, product, seeds

MIXERS = ("hgrn", "retnet", "gla", "hgrn2", "deltanet", "gated_deltanet")
RATIOS = ("24:1", "12:1", "6:1", "3:1")
SCALES = {"340M": ("340m", "mesh.fsdp=4"), "1.3B": ("1b3", "mesh.fsdp=16")}


def points() -> list[Point]:
    """62 points: each model of the paper once."""
    found: list[Point] = []
    for scale in SCALES:
        for mixer in MIXERS:
            found += _one(mixer, mixer, "pure", "none", scale)
            for ratio in RATIOS:
                layout = "last" if (mixer, ratio) == ("gated_deltanet", "24:1") else "period"
                found += _one(mixer, mixer, ratio, layout, scale)
        found += _one("softmax", "transformer", "full", "none", scale)
    return found


def _one(mixer: str, preset: str, ratio: str, layout: str, scale: str) -> list[Point]:
    suffix, mesh = SCALES[scale]
    pattern = ratio if layout == "none" else f"{ratio} {layout}"
    fixed = {
        "mixer": {mixer: ()},
        "ratio": {ratio: f"model.pattern={pattern}"},
        "layout": {layout: ()},
        "scale": {scale: ()},
        "task": {"lm": ()},
    }
    return product(f"{preset}_{suffix}", mesh, **fixed, seed=seeds(1))
