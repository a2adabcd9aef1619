"""Several models of `jaxlin params` beside each other, and sizes that match."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from jaxlin.cli import common

if TYPE_CHECKING:
    from jaxlin.analysis.matched import Match
    from jaxlin.config.run import RunConfig


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "--also",
        metavar="WORDS",
        action="append",
        default=[],
        help="one more model: the last preset with these overrides, such as "
        "--also 'model.mixer=gla model.pattern=pure'",
    )
    parser.add_argument(
        "--match",
        metavar="MEASURE",
        help="give all models the first one's parameters, flops (a token, forward) or state "
        "(bytes of a sequence), by --knob",
    )
    parser.add_argument(
        "--knob", default="ffn.hidden", help="ffn.hidden (the default), width, layers or heads"
    )
    parser.add_argument("--target", type=float, metavar="N", help="in place of the first one's")
    parser.add_argument(
        "--tolerance", type=float, default=0.01, metavar="SHARE", help="allowed difference (0.01)"
    )


def asked(args: argparse.Namespace) -> bool:
    """Whether this is about more than one model's own table."""
    presets = [word for word in args.words if "=" not in word]
    return len(presets) > 1 or bool(args.also) or args.match is not None


def run(args: argparse.Namespace) -> int:
    """Prints the models beside each other."""
    from jaxlin.analysis.accounting import accounting

    models = _models(args)
    context = args.context or models[0].cfg.context
    columns = [(one.cfg.name, accounting(one.cfg, context)) for one in models]
    if args.json:
        solved = [one._asdict() | {"cfg": one.cfg.name} for one in models]
        kept = [{"name": name, **costs} for name, costs in columns]
        print(json.dumps({"models": kept, "match": solved if args.match else None}, indent=2))
        return 0
    if args.match:
        print("\n".join(_solved(one, args.match) for one in models) + "\n")
    print(render(columns))
    return 0


def render(columns: list[tuple[str, dict[str, Any]]]) -> str:
    """A row a cost, a column a model."""
    from jaxlin.parallel import table

    rows: dict[str, list[str]] = {}
    for i, (_, costs) in enumerate(columns):
        for name, value in _lines(costs):
            rows.setdefault(name, ["-"] * len(columns))[i] = value
    head = [["", *(name for name, _ in columns)]] if any(name for name, _ in columns) else []
    groups = list(dict.fromkeys(map(_group, rows)))
    ordered = sorted(rows, key=lambda name: groups.index(_group(name)))
    cells = [*head, *([name, *rows[name]] for name in ordered)]
    text = table.align(cells, right=range(1, len(columns) + 1))
    layers = [f"layers {name}".rstrip() + f": {costs['layout']}" for name, costs in columns]
    return "\n".join([text, *layers])


def _group(name: str) -> str:
    return name.partition(":")[0]


def _lines(costs: dict[str, Any]) -> list[tuple[str, str]]:
    named = {
        "FLOPs a token, forward": costs["forward_flops_per_token"],
        "FLOPs a token, backward": costs["backward_flops_per_token"],
        "of mixers, the study's model": costs["study_mixer_flops_per_token"],
        **{f"forward: {part}": found["forward"] for part, found in costs["flops"].items()},
        "KV bytes a sequence": costs["kv_bytes"],
        "state bytes a sequence": costs["state_bytes"],
        **{f"parameters: {part}": count for part, count in costs["parameters"].items()},
    }
    return [(name, "-" if value is None else f"{value:,.0f}") for name, value in named.items()]


def _models(args: argparse.Namespace) -> list[Match]:
    from jaxlin.analysis.matched import Match, family
    from jaxlin.config.errors import ConfigError

    if args.mesh or args.config is not None:
        raise ConfigError("--mesh and --config are for one model; give one preset alone")
    models = _configs(args)
    if args.match is None:
        return [Match(cfg, "", 0, 0, 0) for cfg in models]
    if args.tolerance < 0 or (args.target is not None and args.target <= 0):
        raise ConfigError("--tolerance is at least 0 and --target above 0")
    context = args.context or models[0].context
    return family(models, args.match, args.knob, context, args.target, args.tolerance)


def _configs(args: argparse.Namespace) -> list[RunConfig]:
    from dataclasses import replace

    from jaxlin.config.errors import ConfigError
    from jaxlin.config.override import override
    from jaxlin.config.presets import preset

    names = [word for word in args.words if "=" not in word]
    words = [word for word in args.words if "=" in word]
    if not names:
        raise ConfigError("give at least one preset; `jaxlin presets` lists them")
    found = [override(preset(name), words) for name in names]
    for more in args.also:
        cfg = override(found[len(names) - 1], common.split(more, "--also"))
        found.append(replace(cfg, name=more))
    return [replace(c, model=replace(c.model, vocab=common.vocab(c))) for c in found]


def _solved(one: Match, measure: str) -> str:
    if not one.knob:
        return f"{one.cfg.name}: {measure} {one.target:,.0f}, the target"
    return (
        f"{one.cfg.name}: {one.knob}={one.value} gives {measure} {one.measure:,.0f}, "
        f"{100 * one.residual:+.3f} % from the target"
    )
