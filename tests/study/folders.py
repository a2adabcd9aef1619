"""Run directories written by hand: what the report reads, without training."""

import json
from dataclasses import replace

from jaxlin.train import records
from tests.train.helpers import SMALL


def stats(step, layers=2):
    """A record of statistics whose numbers move with step and layer."""

    def summary(base):
        names = ("mean", "min", "max", "q05", "q25", "q50", "q75", "q95")
        return {name: base * (1 + i / 10) for i, name in enumerate(names)}

    quantities = ("decay", "half_life", "write_strength", "output_gate", "state_norm")
    layer = lambda i: {q: summary(1 + i + step / 10) for q in quantities}  # noqa: E731
    found = {str(i): {"mixer": "gla", **layer(i)} for i in range(layers)}
    return {"kind": "stats", "step": step, "tokens": 4096, "layers": found}


def lines(steps=20, every=1, sample="t replaced"):
    """All kinds of records of a run that was never stopped."""
    found = [{"kind": "start", "step": 0}]
    for n in range(1, steps + 1, every):
        found.append(
            {"kind": "train", "step": n, "loss": 3 / n + 1, "grad_norm": 1 / n, "lr": 1e-3 * n,
             "tokens": 128 * n, "seconds_per_step": 0.5, "tokens_per_second": 256.0 + n}
        )  # fmt: skip
    for n in (steps // 2, steps):
        parts = [{"first": 1, "last": 1, "loss": 3.0}, {"first": 2, "last": 3, "loss": 2.0}]
        found += [
            {"kind": "eval", "step": n, "loss": 3 / n + 1.2, "bits_per_byte": 2.0,
             "by_position": parts},
            stats(n),
            {"kind": "sample", "step": n, "prompt": "impor", "text": f"{sample} {n}"},
            {"kind": "goodput", "step": n, "seconds": {"step": 0.5 * n, "compile": 4.0}},
        ]  # fmt: skip
    return found


def make(folder, written, **changes):
    """A run directory with these records; the changes go into its config."""
    records.create(folder, replace(SMALL, **changes))
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in written)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    start = {"step": 0, "command": ["jaxlin", "train", "small"], "versions": {"jax": "0.12.0"}}
    records.write_json(folder / "environment.json", [start])
    row = {"path": "blocks_0/layer_0/mixer/q/kernel", "count": 512, "optimizer": "adamw"}
    totals = {"parameters": 512, "trained": 512, "bytes": 2048}
    records.write_json(folder / "parameters.json", {"totals": totals, "rows": [row]})
    return folder
