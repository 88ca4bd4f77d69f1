"""Flags, environment, files of secrets and `wren.toml` in; the settings, each with its origin, out.

The first of these that says something of a setting wins; what none of them says has its default. They are read one by
one: so it is known which said what, and `Settings(…)` in a program depends on no file.
"""

import difflib
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, SecretsSettingsSource, TomlConfigSettingsSource
from pydantic_settings.exceptions import SettingsError

from service.faults import wrong
from service.settings import PREFIX, Settings, is_secret

FILE = Path("wren.toml")
SECRETS = Path("/run/secrets")
"""Where Docker and Podman put them."""

_OTHERS = re.compile(rf"{PREFIX}(CONFIG|SECRETS_DIR|CATALOG|BENCH_\w+|SERVICE_\w+|PORT_\w+)")
"""Variables that are no settings; the last two are Kubernetes', for a service named wren."""

Kind = Literal["default", "wren.toml", "secret file", "environment", "flag"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who said it, and where: a flag, a variable, a file."""

    kind: Kind
    place: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.place})" if self.place else self.kind


@dataclass(frozen=True, slots=True)
class Sourced:
    """The settings; where each that is not left at its default came from; what was said in vain."""

    settings: Settings
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...]

    def origin(self, name: str) -> Origin:
        return self.origins.get(name, Origin("default"))


class WrongSettings(ValueError):
    """A value cannot be, a name is unknown, or a file cannot be read: one line for the operator, none for clients."""

    def __init__(self, told: str) -> None:
        super().__init__(" ".join(told.splitlines()))


@dataclass(frozen=True, slots=True)
class _Said:
    name: str
    value: object
    origin: Origin


def read(
    given: Mapping[str, object] | None = None, *, assigned: Sequence[str] = (), config: Path | None = None
) -> Sourced:
    """The settings of this process.

    Args:
        given: flags by the names of their settings; None is a flag that was not given.
        assigned: `NAME=VALUE` each, which any setting but a secret can be given by.
        config: the file instead of WREN_CONFIG or `wren.toml` in the working directory.

    Raises:
        WrongSettings: something of it cannot be.
    """
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    for said in chain(_flags(given or {}), _assigned(assigned), _environment(), _secrets(), _file(config)):
        if said.name not in origins:
            values[said.name], origins[said.name] = said.value, said.origin
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise WrongSettings("; ".join(dict.fromkeys(_faults(error, origins)))) from None
    return Sourced(settings, origins, tuple(_in_vain()))


def _faults(error: ValidationError, origins: Mapping[str, Origin]) -> Iterator[str]:
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if name not in origins:
            yield str(fault.get("ctx", {}).get("error") or fault["msg"])
            continue
        origin, told = origins[name], wrong(fault, Settings.model_fields[name], secret=is_secret(name))
        where = {"environment": f"{origin.place} in the environment", "wren.toml": f"{name} in {origin.place}"}
        yield f"{where.get(origin.kind, origin.place)}: {told.removesuffix('.')}"


def _flags(given: Mapping[str, object]) -> Iterator[_Said]:
    for name, value in given.items():
        if value is not None:
            yield _Said(name, value, Origin("flag", f"--{name.replace('_', '-')}"))


def _assigned(assigned: Sequence[str]) -> Iterator[_Said]:
    for text in reversed(assigned):
        written, equals, value = text.partition("=")
        name = written.strip().lower().replace("-", "_").removeprefix(PREFIX.lower())
        if not equals:
            raise WrongSettings(f"--set {text}: write NAME=VALUE, such as --set threads=2")
        if name not in Settings.model_fields:
            raise WrongSettings(f"--set {written}: there is no such setting{_near(name)}")
        if is_secret(name):
            safe = f"{PREFIX}{name.upper()}_FILE=PATH"
            raise WrongSettings(f"--set {written}: whoever lists the processes would read the secret; write {safe}")
        yield _Said(name, value, Origin("flag", f"--set {name}"))


def _environment() -> Iterator[_Said]:
    try:
        found = EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise WrongSettings(f"The environment cannot be read: {error}: {error.__cause__}") from None
    for name, value in found.items():
        yield _Said(name, value, Origin("environment", f"{PREFIX}{name.upper()}"))


def _secrets() -> Iterator[_Said]:
    """Files that `WREN_…_FILE` names, then those in the folder of secrets; one that is empty is no secret."""
    for name in filter(is_secret, Settings.model_fields):
        variable = f"{PREFIX}{name.upper()}_FILE"
        if path := os.environ.get(variable):
            yield _secret(name, _content(variable, Path(path)), path)
    named = os.environ.get(f"{PREFIX}SECRETS_DIR")
    folder = Path(named or SECRETS)
    if named or folder.is_dir():
        for name, value in _kept_in(folder).items():
            yield _secret(name, value, str(folder / f"{PREFIX.lower()}{name}"))


def _secret(name: str, value: object, path: str) -> _Said:
    if not value:
        raise WrongSettings(f"{path}: the file is empty: write the secret into it, or take it away")
    return _Said(name, value, Origin("secret file", path))


def _content(variable: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise WrongSettings(f"{variable} in the environment: cannot read {path}: {reason}") from None


def _kept_in(folder: Path) -> Mapping[str, object]:
    try:
        with warnings.catch_warnings():
            # It warns of what it passes over: a server without the keys that it was given would let everyone in.
            warnings.simplefilter("error")
            return SecretsSettingsSource(Settings, secrets_dir=folder)()
    except (UserWarning, SettingsError) as error:
        raise WrongSettings(f"secrets in {folder}: {error.__cause__ or error}") from None


def _file(config: Path | None) -> Iterator[_Said]:
    named = config or os.environ.get(f"{PREFIX}CONFIG")
    path = Path(named or FILE).expanduser()
    if not named and not path.exists():
        return
    for key, value in _table(path).items():
        if key not in Settings.model_fields:
            table = " and no tables" if isinstance(value, dict) else ""
            raise WrongSettings(f"{key} in {path}: there is no such setting{table}{_near(key)}")
        yield _Said(key, _as_text(value), Origin("wren.toml", str(path)))


def _table(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        reason = "is a folder (Docker makes one where the file to mount is missing)" if path.is_dir() else "is missing"
        raise WrongSettings(f"The file of settings {path} {reason}: write it, or name another with --config")
    try:
        return TomlConfigSettingsSource(Settings, toml_file=path)()
    except (OSError, ValueError, RecursionError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise WrongSettings(f"The file of settings {path} cannot be read: {reason}") from None


def _as_text(value: object) -> object:
    """What stands in the file means what it would mean in the environment: `memory = 512` lacks its unit in both."""
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, dict) else str(value)


def _in_vain() -> Iterator[str]:
    """Variables that are meant for Wren and that it does not know."""
    for variable in sorted(os.environ):
        if variable.upper().startswith(PREFIX) and not is_known(variable.upper()):
            near = difflib.get_close_matches(variable.upper(), _variables(), n=1)
            yield f"{variable} in the environment is ignored: there is no such setting{_meant(near)}"


def is_known(variable: str) -> bool:
    """Whether a variable `WREN_…` means something to Wren, or is no business of its own."""
    return variable in _variables() or _OTHERS.fullmatch(variable) is not None


def _variables() -> tuple[str, ...]:
    files = (f"{PREFIX}{name.upper()}_FILE" for name in Settings.model_fields if is_secret(name))
    return (*(f"{PREFIX}{name.upper()}" for name in Settings.model_fields), *files)


def _near(name: str) -> str:
    return _meant(difflib.get_close_matches(name.lower(), Settings.model_fields, n=1))


def _meant(near: Sequence[str]) -> str:
    return f" (did you mean {near[0]}?)" if near else " (`wren config show` lists them)"
