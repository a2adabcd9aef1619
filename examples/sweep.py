"""A sweep of minutes on two cores: two mixers, two shares of softmax attention, two seeds.

jaxlin sweep examples/sweep.py --plan
jaxlin sweep examples/sweep.py
"""

from jaxlin.config.points import Point, product, seeds

MIXERS = {kind: f"model.mixer={kind}(heads=2)" for kind in ("gla", "gated_deltanet")}
RATIOS = {"pure": "model.pattern=pure", "1:1": "model.pattern=mixer + attention"}
SMALL = ("model.layers=2", "log.every=5")


def points() -> list[Point]:
    """The points; the softmax model, which has no linear mixer, is chained by +."""
    hybrids = product("tiny", *SMALL, mixer=MIXERS, ratio=RATIOS, seed=seeds(2))
    full = {"full": "model.pattern=full"}
    return hybrids + product("tiny", *SMALL, mixer={"softmax": ()}, ratio=full, seed=seeds(2))
