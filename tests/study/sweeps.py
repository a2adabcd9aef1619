"""Sweep folders with made-up records: what `jaxlin study report` reads, without training."""

import json
import random

MIXERS = ("hgrn", "retnet", "hgrn2", "deltanet", "gla", "gated_deltanet")
RATIOS = ("pure", "3:1", "1:1")
LINEAR = {"pure": 0, "3:1": 1, "1:1": 2, "full": 4}  # softmax layers among four


def layers(mixer, ratio):
    """Four of them, softmax last."""
    count = LINEAR[ratio]
    return [mixer] * (4 - count) + ["softmax"] * count


def recall(mixer, ratio, seed):
    """Rises with the share of softmax; hybrids rank in another order than pure models."""
    i = MIXERS.index(mixer) if mixer in MIXERS else 0
    base = {"pure": 0.2 + 0.06 * i, "full": 0.96}.get(ratio, 0.7 + 0.2 * (LINEAR[ratio] == 2))
    shuffled = (2, 5, 1, 4, 0, 3)[i] if ratio not in ("pure", "full") else 0
    return base + 0.01 * shuffled + 0.004 * (seed - 1)


def loss(mixer, ratio, seed):
    """Nearly the same everywhere."""
    i = MIXERS.index(mixer) if mixer in MIXERS else 0
    return 2.0 + 0.02 * i + 0.002 * LINEAR[ratio] + 0.004 * (seed - 1)


def curve(last, steps=(20, 40, 60, 80, 100)):
    """Goes to its last value in a straight line."""
    return [[s, round(last * (2 - s / steps[-1]), 4)] for s in steps]


def grid_of(value):
    """A heat map of needles."""
    values = [[value, value / 2], [value / 3, None]]
    return {"rows": [0.0, 0.5], "columns": [64, 128], "row": "depth", "column": "length",
            "values": values}  # fmt: skip


def point(mixer, ratio, task, seed):
    """As in sweep.json."""
    name = f"{task}-{mixer}-{ratio.replace(':', '-')}-seed{seed}"
    digest = f"{random.Random(name).getrandbits(256):064x}"
    overrides = [f"model.mixer={mixer}", f"seed={seed}"]
    labels = {"mixer": mixer, "ratio": ratio, "task": task, "seed": seed}
    return {"id": f"{name}-{digest[:8]}", "name": name, "preset": "hybrid_tiny",
            "overrides": overrides, "labels": labels, "hash": digest}  # fmt: skip


def line(point):
    """As in results.jsonl, of a point that is done."""
    labels = dict(point["labels"])
    seed = labels.pop("seed")
    mixer, ratio, task = labels["mixer"], labels["ratio"], labels["task"]
    nats, right = loss(mixer, ratio, seed), recall(mixer, ratio, seed)
    final = {"train.loss": nats, "eval.loss": nats}
    curves = {"train.loss": curve(nats), "eval.loss": curve(nats)}
    grids = {}
    if task == "mqar":
        final |= {"task.mqar.accuracy": right, "task.mqar.by.gap.8": right / 2}
        curves["task.mqar.accuracy"] = curve(right)
        grids["task.needle"] = grid_of(right)
    else:
        final["eval.bits_per_byte"] = nats / 2
    return {
        **{name: point[name] for name in ("id", "name", "labels", "hash", "preset", "overrides")},
        "group": "g", "status": "done", "reason": None, "seconds": 12.5, "parameters": 100_000,
        "tokens": 64_000, "versions": {"jax": "0.12.0"}, "git": {"commit": "abc", "dirty": False},
        "layers": layers(mixer, ratio),
        "accounting": {"flops_per_token": 1e5 * (1 + LINEAR[ratio]) + len(mixer),
                       "state": {"bytes_at_2048": 4096.0 * (1 + LINEAR[ratio])}},
        "final": final, "curves": curves, "grids": grids,
    }  # fmt: skip


def plan(tasks=("mqar", "lm"), seeds=3, mixers=MIXERS):
    """Every point, softmax alone once a task and seed."""
    cells = [*((m, r) for m in mixers for r in RATIOS), ("softmax", "full")]
    return [point(m, r, t, s) for t in tasks for m, r in cells for s in range(seeds)]


def make(folder, points=None, lines=None, **about):
    """A sweep folder; `lines` default to a result of every point."""
    points = plan() if points is None else points
    lines = [line(p) for p in points] if lines is None else lines
    folder.mkdir(parents=True, exist_ok=True)
    sweep = {
        "format": 1, "file": "experiments/hybrid_study/points.py", "file_sha256": "0" * 64,
        "command": ["jaxlin", "sweep", "experiments/hybrid_study/points.py"],
        "versions": {"jax": "0.12.0"}, "git": {"commit": "abc"}, "points": points,
    }  # fmt: skip
    (folder / "sweep.json").write_text(json.dumps(sweep | about))
    (folder / "results.jsonl").write_text("".join(json.dumps(found) + "\n" for found in lines))
    return folder
