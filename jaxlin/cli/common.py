"""What commands share: a config from `PRESET` or `--config FILE`, with `path=value` overrides."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `resolve` reads."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="PRESET path=value",
        help="a preset (see `jaxlin presets`) and overrides, such as model.mixer.heads=8",
    )
    parser.add_argument("--config", metavar="FILE", help="a config.json in place of a preset")


def resolve(args: argparse.Namespace) -> RunConfig:
    """The checked config of the command line. Raises ConfigError."""
    from jaxlin.config.override import override

    start, overrides = base(args)
    return override(start, overrides)


def base(args: argparse.Namespace) -> tuple[RunConfig, list[str]]:
    """The preset or the file's config, and the overrides that are to be applied to it."""
    from jaxlin.config.errors import ConfigError
    from jaxlin.config.load import read
    from jaxlin.config.presets import preset

    presets = [word for word in args.words if "=" not in word]
    overrides = [word for word in args.words if "=" in word]
    if len(presets) + (args.config is not None) != 1:
        given = [*presets, *([f"--config {args.config}"] if args.config is not None else [])]
        found = ", ".join(given) if given else "neither"
        raise ConfigError(
            f"give one preset or --config FILE, found {found}; `jaxlin presets` lists the presets "
            "and overrides are written path=value"
        )
    return (preset(presets[0]) if presets else read(args.config)), overrides


def vocab(cfg: RunConfig) -> int:
    """Set, or that of the tokenizer that the data names."""
    if cfg.model.vocab is not None:
        return cfg.model.vocab
    from jaxlin.config.errors import ConfigError
    from jaxlin.data.tokenizer import load_tokenizer, model_vocab

    if cfg.data.kind == "task":
        from jaxlin.data import feed

        return model_vocab(None, feed.load(cfg.data).tokenizer)
    if not hasattr(cfg.data, "tokenizer"):
        raise ConfigError(
            f"model.vocab: not set, and data of kind {cfg.data.kind!r} names no tokenizer; set "
            "model.vocab"
        )
    return model_vocab(None, load_tokenizer(cfg.data.tokenizer))


def split(text: str, option: str) -> list[str]:
    """The words of an option's text, as a shell takes them. Raises ConfigError for an open quote,
    and where there are none."""
    import shlex

    from jaxlin.config.errors import ConfigError

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{option}: found {text!r}: {str(error).lower()}; close it") from None
    if not words:
        raise ConfigError(f"{option}: found {text!r}; see --help for an example")
    return words
