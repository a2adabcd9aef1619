"""Which configs of a mixer the conformance suite runs; new kinds are shrunk by themselves."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxlin.config.registry import mixers

WIDTH = 16
# Fields of the default config that have to shrink; other kinds are shrunk by the names below.
TINY: dict[str, dict[str, Any]] = {
    "softmax": dict(heads=2),
    "gla": dict(heads=2, gate_rank=4, gate_tau=2.0),
    "gated_deltanet": dict(heads=2, head_dim=4),
}
SHRINK = {"heads": 2, "head_dim": 4, "key_dim": 4, "value_dim": 4}
# What else a kind can be, on top of its tiny default.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "softmax": {
        "grouped": dict(heads=4, kv_heads=2),
        "window": dict(window=5),
        "window of one": dict(window=1),
        "normed": dict(qk_norm=True, qkv_bias=True, rope_base=None),
    },
    "gla": {
        "grouped": dict(heads=4, kv_heads=2),
        "scalar gate": dict(gate="scalar"),
        "constant gate": dict(gate="constant", output_gate=False),
        "no gate": dict(gate="none", feature_map="elu1"),
        "convolved": dict(conv=3, feature_map="silu", gate_min=-0.05),
        "forgetful": dict(gate_tau=0.05),
    },
    "hgrn": {
        "convolved": dict(conv=3, output_gate=False, expand_ratio=1.5),
        "no bound": dict(lower_bound="none"),
    },
    "hgrn2": {
        "convolved": dict(conv=3, output_gate=True, lower_bound="fixed"),
        "no bound": dict(heads=16, lower_bound="none"),
    },
    "retnet": {
        "convolved": dict(conv=3, output_gate=False, decay="single"),
        "no decay": dict(decay="none", rope_base=None, expand_v=1.0),
    },
    "deltanet": {
        "bare": dict(conv=0, output_gate=True, feature_map="elu1", qk_norm="sum"),
        "negative eigenvalues": dict(allow_neg_eigval=True, beta=False, expand_v=2.0),
    },
    "lightning": {
        "positions": dict(lrpe=True, decay="tnl", conv=3),
        "fla": dict(decay="fla", output_gate=False),
        "no decay": dict(decay="none"),
    },
    "kda": {
        "bare": dict(conv=0, output_gate=False),
        "negative eigenvalues": dict(allow_neg_eigval=True, expand_v=2.0),
    },
    "gated_deltanet": {
        "grouped": dict(value_heads=4, expand_v=1.0),
        "bare": dict(conv=0, gate=False),
        "delta rule": dict(decay="none", conv=1),
        "negative eigenvalues": dict(allow_neg_eigval=True, qk_norm="softmax"),
    },
}
# Kinds whose ops another kind stands for: what is costly about them waits for a landing.
ALIKE = ("deltanet", "hgrn2", "kda", "lightning", "retnet")
# Kinds of which every edit runs what is quick alone.
LATER = (*ALIKE, "gated_deltanet", "hgrn")


def tiny(kind: str, **changes: Any) -> Any:
    """The default config of a kind, small enough for width 16, with `changes`."""
    cls = mixers.config(kind)
    names = {field.name for field in dataclasses.fields(cls)}
    fields = TINY.get(kind, {name: size for name, size in SHRINK.items() if name in names})
    config = cls(**(fields | changes))
    assert not config.problems(WIDTH), config.problems(WIDTH)
    return config


def default_cases() -> dict[str, Any]:
    """One config a kind."""
    return {kind: tiny(kind) for kind in mixers}


def all_cases() -> dict[str, Any]:
    """The defaults and all variants."""
    variants = {
        f"{kind}, {name}": tiny(kind, **changes)
        for kind, kinds in VARIANTS.items()
        for name, changes in kinds.items()
    }
    return default_cases() | variants
