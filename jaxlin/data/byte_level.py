"""Byte-level BPE spells each byte as one printable character; this is that table."""

from __future__ import annotations


def byte_of_character() -> dict[str, int]:
    """Character -> byte: printable Latin-1 stands for itself, the other 68 bytes for U+0100 ...

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", the
    released encoder.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(0x100 + i): byte for i, byte in enumerate(others)}
