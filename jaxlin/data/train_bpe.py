"""Trains a byte-level BPE tokenizer with the tokenizers library."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from jaxlin.config.errors import ConfigError, DataError
from jaxlin.data.document import Document

SEPARATOR = "<|endoftext|>"
SMALLEST = 257  # every byte and the separator


def train_bpe(documents: Iterable[Document], vocab: int, out: Path) -> int:
    """Writes the new file `out`, a tokenizer of at most `vocab` tokens; returns how many.

    Fewer come out when the text has no more pairs to merge. Raises ConfigError for a vocabulary
    below 257 and DataError when `out` exists or there is no text.
    """
    if vocab < SMALLEST:
        raise ConfigError(f"--vocab is {vocab}; the bytes and a separator already take {SMALLEST}")
    if out.exists():
        raise DataError(f"{out} exists already and is not overwritten; remove it or name another")
    tokenizer = _train(documents, vocab)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.name}.{os.getpid()}")
        partial.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        partial.rename(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
    return tokenizer.get_vocab_size()


def _train(documents: Iterable[Document], vocab: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((document.text.decode() for document in documents), trainer)
    return tokenizer
