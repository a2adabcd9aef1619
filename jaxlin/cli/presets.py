"""`jaxlin presets`: the presets with a line on each."""

import argparse

HELP = "list the presets"
EXAMPLE = "jaxlin presets"


def add(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> int:
    """One line a preset."""
    from jaxlin.config.presets import names

    known = names()
    width = max(map(len, known))
    for name, line in known.items():
        print(f"{name:{width}}  {line}")
    return 0
