"""The keys that let clients in: what a client sent in, whose key it is out. Only digests stay in memory."""

import hmac
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from service.api.keys_file import DIGEST, NAME, Key, KeysFileInvalid, Scope, digest_of, read_keys

ALL_SCOPES: frozenset[Scope] = frozenset({"transcribe", "admin"})

FINGERPRINT_DIGITS = 16
"""Of the digest, which names a key that has no name."""

_HASHED = re.compile(f"({NAME}):sha256:({DIGEST})")

_Version = tuple[int, int, int]
"""Time, size and inode of a file: it is another one if they differ."""

_log = logging.getLogger(__name__)


def is_hashed(text: str) -> bool:
    """Whether one of `WREN_API_KEYS` is a digest, which opens nothing."""
    return _HASHED.fullmatch(text) is not None


def listed_key(text: str) -> Key:
    """One of `WREN_API_KEYS`: the key itself, or `NAME:sha256:DIGEST`. Both may do everything."""
    hashed = _HASHED.fullmatch(text)
    if hashed is not None:
        return Key(hashed[1], hashed[2], ALL_SCOPES)
    digest = digest_of(text)
    return Key(digest[:FINGERPRINT_DIGITS], digest, ALL_SCOPES)


class Keyring:
    """The keys of the settings and those of the file, which is read again whenever it has changed."""

    def __init__(self, listed: Iterable[str] = (), *, file: Path | None = None) -> None:
        """Read both.

        Raises:
            KeysFileInvalid: there should be a file, and it cannot be used.
        """
        self._listed = tuple(map(listed_key, listed))
        self._file = file
        self._version = _version(file) if file else None
        self._filed = read_keys(file) if file else ()

    @property
    def guarded(self) -> bool:
        """Whether a key is asked for: also where the file has none (any more), lest the last one opens the door."""
        return bool(self._listed) or self._file is not None

    def find(self, presented: str) -> Key | None:
        """Whose key it is, in a time that does not tell how much of it was right."""
        self._read_again()
        digest = digest_of(presented)
        found = [key for key in (*self._listed, *self._filed) if hmac.compare_digest(key.digest, digest)]
        return found[0] if found else None

    def named(self, name: str) -> Key | None:
        """The key of this name, for what was asked for with it before."""
        self._read_again()
        return next((key for key in (*self._listed, *self._filed) if key.name == name), None)

    def _read_again(self) -> None:
        if self._file is None or (version := _version(self._file)) == self._version:
            return
        self._version = version
        try:
            self._filed = read_keys(self._file)
        except KeysFileInvalid as error:
            _log.warning("%s The keys that were read before stay valid.", error)
        else:
            _log.info("%d keys read from %s", len(self._filed), self._file)


def _version(file: Path) -> _Version | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
