"""Files named by a user: globs, checked reading, decompression that cannot fill the memory."""

from __future__ import annotations

import glob
import gzip
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxlin.config.errors import DataError
from jaxlin.config.paths import user_path

MAX_RATIO = 200  # decompressed to compressed size; text reaches 10, a bomb 1000
FREE_BYTES = 2**24  # that may be decompressed whatever the ratio
MAX_DOCUMENT = 2**30  # bytes of one document
BLOCK = 2**20
GZIP = b"\x1f\x8b"  # how its files begin

# Never read as text, whatever they hold: nothing here is unpickled or unpacked.
REFUSED = {
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".npy", ".npz", ".bin"), "binary data"),
    **dict.fromkeys((".zst", ".bz2", ".xz", ".zip", ".tar", ".tgz", ".7z"), "an archive"),
    **dict.fromkeys((".parquet", ".arrow", ".pdf", ".docx"), "a binary format"),
}


class Named(NamedTuple):
    """A file, and whether the user named it rather than a pattern matching it."""

    path: Path
    literal: bool


def expand(patterns: Iterable[str], field: str) -> list[Named]:
    """Files of paths and glob patterns: in the given order, matches sorted by name, each once.

    Raises DataError naming `field` when there are no patterns, or one that matches nothing.
    """
    found: dict[Path, Named] = {}
    for pattern in patterns:
        for named in _expand_one(pattern, field):
            found.setdefault(named.path.resolve(), named)
    if not found:
        raise DataError(f"{field} names no file; give paths or patterns such as 'corpus/*.txt'")
    return list(found.values())


def _expand_one(pattern: str, field: str) -> list[Named]:
    path = user_path(pattern, DataError)
    if path.is_dir():
        raise DataError(
            f"{field}: {pattern!r} is a folder; name its files, as in '{pattern}/*.txt'"
        )
    if path.exists():
        return [Named(path, True)]
    matches = sorted(glob.glob(str(path), recursive=True))
    files = [Named(Path(match), False) for match in matches if Path(match).is_file()]
    if not files:
        what = "matches no file" if glob.has_magic(pattern) else "does not exist"
        raise DataError(f"{field}: {pattern!r} {what} (searched from {Path.cwd()}); check the path")
    return files


def blocks(path: Path) -> Iterator[bytes]:
    """The file's bytes in blocks of at most 1 MiB, decompressed if it ends in .gz.

    Raises DataError when it is refused by its name, is no regular file, cannot be read, or is a
    decompression bomb.
    """
    _check_name(path)
    total = 0
    try:
        limit = max(FREE_BYTES, MAX_RATIO * _size(path))
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
            while block := file.read(BLOCK):
                total += len(block)
                if total > limit:
                    raise DataError(
                        f"{path}: decompresses to more than {limit} bytes ({MAX_RATIO} times its "
                        "size), which no text does; it looks like a decompression bomb"
                    )
                yield block
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: cannot be read ({reason}); check that it is whole and permitted"
        ) from error


def _check_name(path: Path) -> None:
    plain = path.with_suffix("") if _is_gzip(path) else path
    for suffix in (path.suffix, plain.suffix):
        if suffix.lower() in REFUSED:
            raise DataError(
                f"{path}: {suffix} is {REFUSED[suffix.lower()]}, which is not read as text; "
                "give .txt, .jsonl or other UTF-8 text, plain or .gz"
            )


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _size(path: Path) -> int:
    """Bytes on disk. Opening a pipe would wait for its writer, and a device has no end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(
            f"{path}: a pipe or device, which cannot be read again on resume; write its content "
            "to a file and name that"
        )
    return status.st_size


def read_all(path: Path) -> bytes:
    """The content of a file of at most MAX_DOCUMENT bytes. Raises DataError."""
    parts: list[bytes] = []
    for block in blocks(path):
        parts.append(block)
        _check_length(parts, str(path))
    return b"".join(parts)


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, each of at most MAX_DOCUMENT bytes. Raises DataError."""
    number, parts = 1, []
    for block in blocks(path):
        first, *others = block.split(b"\n")
        parts.append(first)
        _check_length(parts, f"{path}:{number}")
        for other in others:
            yield b"".join(parts)
            number, parts = number + 1, [other]
    yield b"".join(parts)


def _check_length(parts: list[bytes], where: str) -> None:
    if sum(map(len, parts)) > MAX_DOCUMENT:
        raise DataError(
            f"{where}: a document of more than {MAX_DOCUMENT} bytes; split it into several files"
        )


def check_utf8(text: bytes, where: str) -> bytes:
    """`text` without a byte-order mark. Raises DataError naming the first offending byte."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        fix = "convert it first, as in  iconv -f latin1 -t utf-8"
        if text.startswith(GZIP):
            fix = "it is compressed: give it a name that ends in .gz"
        raise DataError(
            f"{where}: not UTF-8: byte 0x{text[error.start]:02x} at offset {error.start}; {fix}"
        ) from error
    return text.removeprefix(b"\xef\xbb\xbf")
