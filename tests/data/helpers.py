"""Small corpora and tokenizers on disk."""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from jaxlin.data.byte_level import byte_of_character
from jaxlin.data.document import Document
from jaxlin.data.stream import TokenStream

TEXTS = ["The cat sat.\n", "Grüße aus Köln! 日本語 🙂", "one two three four five six\n" * 3, "x"]


def documents(texts: list[str]) -> list[Document]:
    return [Document(f"{i}.txt", f"{i}.txt", text.encode()) for i, text in enumerate(texts)]


def stream(*lengths: int, bos: int = 256) -> TokenStream:
    """Documents of the ids 0, 1, 2, ... in one count."""
    ends = np.cumsum(lengths)
    spans = np.stack([ends - np.array(lengths), ends], axis=1).astype(np.int64)
    tokens = np.arange(ends[-1], dtype=np.uint16) % 250
    return TokenStream(tokens, spans, bos=bos, size=257, where="made up")


def byte_level_tokenizer(path: Path, special: str = "<|endoftext|>", merge: bool = True) -> Path:
    """A byte-level BPE tokenizer.json with one merge and one special token."""
    pieces = [*byte_of_character(), *(["th"] if merge else [])]
    model = models.BPE(
        vocab={piece: i for i, piece in enumerate(pieces)},
        merges=[("t", "h")] if merge else [],
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([special])
    tokenizer.save(str(path))
    return path


def write_texts(folder: Path, texts: list[str]) -> str:
    """Files whose sorted names keep the order of `texts`; returns the pattern."""
    folder.mkdir()
    for i, text in enumerate(texts):
        (folder / f"{i:03}.txt").write_text(text, encoding="utf-8", newline="")
    return str(folder / "*.txt")


def write_jsonl(path: Path, texts: list[str], field: str = "text") -> str:
    path.write_text("".join(json.dumps({field: t}) + "\n" for t in texts), encoding="utf-8")
    return str(path)
