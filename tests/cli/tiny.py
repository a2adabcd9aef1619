"""Words of the smallest run, the same wherever a command trains: compiled steps are shared."""

TINY = [
    "tiny",
    "steps=2",
    "schedule.warmup=1",
    "model.layers=1",
    "model.pattern=full",
    "model.width=16",
    "data.held_out=0.3",
    "eval.batches=1",
    "mesh.data=1",
    "mesh.allow_unused_devices=true",
]
