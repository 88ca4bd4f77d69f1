"""The file of keys (`WREN_KEYS_FILE`, TOML): its text to keys, and keys to its text. It holds digests, never a key.

A key of 256 random bits needs no slow hash as passwords do: nobody can try enough of them, and a slow one would let
whoever sends wrong keys keep the server busy.
"""

import hashlib
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.api.quota import UNLIMITED, Limits
from service.errors import WrenError

Scope = Literal["transcribe", "admin"]

KEY_PREFIX = "wren_"
"""Tells people and scanners of leaked secrets what it is."""

KEY_BYTES = 32

NAME = r"[A-Za-z0-9._-]{1,64}"
DIGEST = r"[0-9a-f]{64}"


class KeysFileInvalid(WrenError, ValueError):
    """The file of keys cannot be read, or is not one."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"The keys file {path} cannot be used: {reason}. See `wren keys --help`.")


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key: all but the key. `digest` is its SHA-256 in hexadecimal digits."""

    name: str
    digest: str
    scopes: frozenset[Scope]
    limits: Limits = UNLIMITED


class _Entry(BaseModel):
    """One table `[[key]]`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    digest: Annotated[str, Field(pattern=f"^{DIGEST}$")]
    scopes: frozenset[Scope] = frozenset({"transcribe"})
    requests_per_minute: Annotated[int | None, Field(ge=1)] = None
    audio_seconds_per_minute: Annotated[float | None, Field(ge=1, allow_inf_nan=False)] = None
    concurrency: Annotated[int | None, Field(ge=1)] = None

    def key(self) -> Key:
        limits = Limits(self.requests_per_minute, self.audio_seconds_per_minute, self.concurrency)
        return Key(self.name, self.digest, self.scopes, limits)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: tuple[_Entry, ...] = ()


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> str:
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def is_name(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of the file.

    Raises:
        KeysFileInvalid: it is not there, is no TOML, or has a table that cannot be.
    """
    try:
        entries = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).key
    except OSError as error:
        raise KeysFileInvalid(path, error.strerror or "it cannot be read") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise KeysFileInvalid(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KeysFileInvalid(path, str(error)) from error
    if len({entry.name for entry in entries}) < len(entries):
        raise KeysFileInvalid(path, "two keys have the same name")
    return tuple(entry.key() for entry in entries)


def table(key: Key) -> str:
    """The key as a table of the file."""
    scopes = ", ".join(f'"{scope}"' for scope in sorted(key.scopes))
    limits = "".join(f"{name} = {most:g}\n" for name, most in asdict(key.limits).items() if most is not None)
    return f'[[key]]\nname = "{key.name}"\ndigest = "{key.digest}"\nscopes = [{scopes}]\n{limits}'


def write_keys(path: Path, keys: Sequence[Key]) -> None:
    """Replace the file by one of these keys, at once and for its owner alone: who reads it meanwhile has either."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(map(table, keys)))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
