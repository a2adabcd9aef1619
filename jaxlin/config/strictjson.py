"""JSON from files that nobody vouches for: bounded, without duplicate keys, in UTF-8."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from jaxlin.config.errors import ConfigError, JaxlinError

MAX_BYTES = 1_000_000  # of a config file; a config of a thousand layers has 20 kB
MAX_DEPTH = 32


def read_bytes(path: Path) -> bytes:
    """The content of a small file. Raises ConfigError if it cannot be read or is too large."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; give the path of a config.json"
        ) from None
    except IsADirectoryError:
        inner = path / "config.json"
        near = f"did you mean {inner}?" if inner.is_file() else "give the path of a config.json"
        raise ConfigError(f"{path}: is a folder; {near}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return content


def parse(
    content: str | bytes,
    where: str,
    refuse: type[JaxlinError] = ConfigError,
    limit: int = MAX_BYTES,
) -> Any:
    """Parsed JSON of at most `limit` bytes.

    Raises `refuse` with a text that names `where` and, if there is one, line and column.
    """
    if len(content) > limit:
        raise refuse(f"{where}: more than {limit} bytes, which nothing of its kind needs")
    duplicates: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(name for name, _ in pairs)
        duplicates.extend(name for name, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        value = json.loads(text, object_pairs_hook=unique)
    except UnicodeDecodeError as error:
        raise refuse(f"{where}: is not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise refuse(f"{where}: is not JSON at {place}: {error.msg}") from None
    except RecursionError:
        raise refuse(f"{where}: is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise refuse(f"{where}: is not JSON: {error}") from None
    if duplicates:
        some = ", ".join(map(repr, duplicates[:8]))
        raise refuse(f"{where}: keys given twice in one object: {some}")
    if _deeper(value, MAX_DEPTH):
        raise refuse(f"{where}: is nested deeper than {MAX_DEPTH} levels")
    return value


def _deeper(value: Any, limit: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    items = value.values() if isinstance(value, dict) else value
    return limit == 0 or any(_deeper(item, limit - 1) for item in items)
