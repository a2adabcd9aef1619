"""The `jaxlin train` command that a launch is about."""

from __future__ import annotations

import argparse

SWITCHES = ("fallback", "allow_cast", "takeover")


def train(args: argparse.Namespace, *more: str) -> list[str]:
    """The words after `jaxlin`: train, preset, overrides, options."""
    words = ["train", *args.words, *more]
    if args.config is not None:
        words += ["--config", str(args.config)]
    if args.run is not None:
        words += ["--run", str(args.run)]
    return words + [f"--{s.replace('_', '-')}" for s in SWITCHES if getattr(args, s)]
