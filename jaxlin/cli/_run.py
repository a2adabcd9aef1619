"""What commands on a finished run share: its config with changes, its tokenizer, its data."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig
    from jaxlin.data.tokenizer import Tokenizer


def changed(folder: Path, words: list[str], allowed: tuple[str, ...]) -> RunConfig:
    """The run's config with `path=value` changes below the `allowed` fields.

    Raises CheckpointError for a folder that is no run, ConfigError for any other change.
    """
    from jaxlin.config.errors import ConfigError
    from jaxlin.config.load import difference
    from jaxlin.config.override import override
    from jaxlin.train.records import read_config

    before = read_config(folder)
    cfg = override(before, words)
    wrong = [p for p, _, _ in difference(before, cfg) if p.partition(".")[0] not in allowed]
    if wrong:
        raise ConfigError(
            f"{', '.join(wrong)}: belongs to the trained model and cannot change here; what can: "
            f"{', '.join(allowed)}"
        )
    return cfg


def tokenizer(folder: Path, cfg: RunConfig) -> Tokenizer:
    """The tokenizer that the run's data names. Raises DataError if it is not the trained one."""
    from jaxlin.data import feed
    from jaxlin.data.tokenizer import load_tokenizer

    named = getattr(cfg.data, "tokenizer", None)
    found = load_tokenizer(named) if named is not None else feed.load(cfg.data).tokenizer
    refuse_other_tokenizer(folder, found)
    return found


def refuse_other_tokenizer(folder: Path, found: Tokenizer) -> None:
    """Raises DataError if the run was trained with other token ids."""
    from jaxlin.config.errors import DataError

    trained = _data(folder).get("tokenizer", {})
    if trained.get("sha256", found.digest) != found.digest:
        raise DataError(
            f"tokenizer {found.name!r}: is not the one that {folder} was trained with "
            f"({trained.get('size')} tokens, sha256 {trained['sha256'][:12]}...); restore the file "
            "or name it with data.tokenizer=FILE"
        )


def note_other_data(folder: Path, fingerprint: dict[str, Any]) -> None:
    """Says on standard error when held-out text may be text that the run was trained on."""
    from jaxlin.data.fingerprint import difference

    trained = {key: value for key, value in _data(folder).items() if key in fingerprint}
    changes = difference(trained, fingerprint)
    if changes:
        first = changes[0]
        print(
            f"note: the data is not what {folder} was trained on ({len(changes)} differences, the "
            f"first: {first[0]}); its held-out part may hold text seen in training",
            file=sys.stderr,
        )


def _data(folder: Path) -> dict[str, Any]:
    from jaxlin.config.errors import CheckpointError
    from jaxlin.train.records import DATA

    path = folder / DATA
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: unreadable ({error}); it tells what the run was trained on"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("tokenizer", {}), dict):
        raise CheckpointError(
            f"{path}: not written by jaxlin; it tells what the run was trained on"
        )
    return found
