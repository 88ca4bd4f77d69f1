"""Text in, token ids out; and back, as text or as the exact bytes of each token."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import tokenizers


class Tokenizer(Protocol):
    def encode(self, text: str) -> tuple[int, ...]:
        """No special tokens are added or recognised."""
        ...

    def pieces(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        """The bytes of each token; joined they are the text, with the leading space the model gave it."""
        ...


def text_of(pieces: Sequence[bytes]) -> str:
    """The pieces as text; bytes of a cut character become U+FFFD."""
    return b"".join(pieces).decode("utf-8", errors="replace")


class ByteLevelTokenizer:
    """GPT-2's byte-level BPE, as Whisper uses it, from a tokenizer.json."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._bytes = {character: byte for byte, character in _byte_characters().items()}

    def encode(self, text: str) -> tuple[int, ...]:
        self._tokenizer.encode_special_tokens = True  # "<|…|>" in a user's prompt is text, not a control token
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def pieces(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(self._piece(token) for token in ids)

    def _piece(self, token: int) -> bytes:
        return bytes(self._bytes[character] for character in self._tokenizer.id_to_token(token) or "")


class ByteFallbackTokenizer:
    """BPE over text in which `▁` stands for a space, as Llama and Moonshine use it, from a tokenizer.json.

    A character without a token of its own is spelled in tokens for its bytes, `<0x00>` to `<0xFF>`.
    """

    def __init__(self, path: Path) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        added = self._tokenizer.get_added_tokens_decoder()
        self.special = frozenset(token for token, content in added.items() if content.special)
        self.size: int = self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> tuple[int, ...]:
        self._tokenizer.encode_special_tokens = True  # "<s>" in a user's prompt is text, not a control token
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def pieces(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(self._piece(token) for token in ids)

    def _piece(self, token: int) -> bytes:
        content = self._tokenizer.id_to_token(token)
        if content is None or token in self.special:
            return b""
        if _BYTE.fullmatch(content):
            return bytes.fromhex(content[3:5])
        return content.replace("▁", " ").encode()


_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def _byte_characters() -> dict[int, str]:
    """The printable character that stands for each byte (GPT-2, `encoder.py`, `bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(rest)}
