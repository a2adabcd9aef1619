"""`jaxlin config`: the resolved config, and what overrides changed."""

import argparse
import json
import sys

from jaxlin.cli import common

HELP = "print the resolved config, and how it differs from its preset"
EXAMPLE = "jaxlin config tiny model.mixer=gla optim.lr=1e-3 > my.json"


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    common.add(parser)
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of configs")


def run(args: argparse.Namespace) -> int:
    """Config to stdout, so that it can go to a file; layers and the difference to stderr."""
    from jaxlin.config.load import difference, json_schema, override, to_json
    from jaxlin.config.pattern import resolve
    from jaxlin.config.placement import layout

    if args.schema:
        print(json.dumps(json_schema(), indent=2))
        return 0
    start, overrides = common.base(args)
    cfg = override(start, overrides)
    print(to_json(cfg), end="")
    print(f"layers: {layout(resolve(cfg.model))}", file=sys.stderr)
    origin = args.config or f"preset {start.name}"
    _print_difference(origin, difference(start, cfg))
    return 0


def _print_difference(origin: str, changes: list) -> None:
    from jaxlin.config.plain import text

    head = f"differs from {origin} in" if changes else f"the same as {origin}"
    print(head, file=sys.stderr)
    for path, before, after in changes:
        print(f"  {path}={text(after)}  (was {text(before)})", file=sys.stderr)
