"""The hybrid study's grid at the tiny scale, for two cores: mixers x ratios x seeds on two tasks.

jaxlin sweep experiments/hybrid_study/points.py --plan
jaxlin sweep experiments/hybrid_study/points.py --parallel 2
"""

from jaxlin.config.points import Point, product, seeds

MIXERS = {
    "hgrn": "model.mixer=hgrn",
    "retnet": "model.mixer=retnet(heads=2)",
    "gla": "model.mixer=gla(heads=2)",
    "hgrn2": "model.mixer=hgrn2(heads=2)",
    "deltanet": "model.mixer=deltanet(heads=2)",
    "gated_deltanet": "model.mixer=gated_deltanet(heads=2, head_dim=24)",
}
RATIOS = {
    "pure": "model.pattern=pure",
    "3:1": "model.pattern=3:1 block",
    "1:1": "model.pattern=1:1 block",
}
FULL = {"full": "model.pattern=full"}
LAYOUT, SCALE = {"block": ()}, {"tiny": ()}
# The Transformer learns recall by this rate in 500 steps, and not by twice as much.
RECALL = "data=task(task=mqar(vocab=32, pairs=8, fewest=1))"
TASKS = {
    "mqar": (
        RECALL,
        "context=32",
        "batch=32",
        "steps=500",
        "optim.lr=1e-3",
        "optim.weight_decay=0.1",
    ),
    "lm": ("steps=200",),
}


def points() -> list[Point]:
    """6 mixers x {pure, 3:1, 1:1} and the Transformer, x 2 tasks x 3 seeds: 114 points."""
    rest = dict(layout=LAYOUT, scale=SCALE, task=TASKS, seed=seeds(3))
    hybrids = product("hybrid_tiny", mixer=MIXERS, ratio=RATIOS, **rest)
    return hybrids + product("hybrid_tiny", mixer={"softmax": ()}, ratio=FULL, **rest)
