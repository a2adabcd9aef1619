"""The hybrid study's grid at the small scale, for one GPU: mixers x ratios x seeds on two tasks.

jaxlin sweep experiments/hybrid_study/small.py --plan
jaxlin sweep experiments/hybrid_study/small.py
"""

from jaxlin.config.points import Point, product, seeds

MIXERS = {
    "hgrn": "model.mixer=hgrn",
    "retnet": "model.mixer=retnet(heads=4)",
    "gla": "model.mixer=gla(heads=4)",
    "hgrn2": "model.mixer=hgrn2(heads=3)",
    "deltanet": "model.mixer=deltanet(heads=3)",
    "gated_deltanet": "model.mixer=gated_deltanet(heads=4, head_dim=72)",
}
RATIOS = {
    "pure": "model.pattern=pure",
    "3:1": "model.pattern=3:1 block",
    "1:1": "model.pattern=1:1 block",
}
FULL = {"full": "model.pattern=full"}
LAYOUT, SCALE = {"block": ()}, {"small": ()}
TASKS = {
    "mqar": (
        "data=task(task=mqar(fewest=1))",
        "context=64",
        "batch=64",
        "steps=2000",
        "optim.lr=1e-3",
    ),
    "lm": (),
}


def points() -> list[Point]:
    """6 mixers x {pure, 3:1, 1:1} and the Transformer, x 2 tasks x 3 seeds: 114 points."""
    rest = dict(layout=LAYOUT, scale=SCALE, task=TASKS, seed=seeds(3))
    hybrids = product("hybrid_small", mixer=MIXERS, ratio=RATIOS, **rest)
    return hybrids + product("hybrid_small", mixer={"softmax": ()}, ratio=FULL, **rest)
