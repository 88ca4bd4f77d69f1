"""A recipe, a TOML file, in; checked steps with their settings, and the digest of its text, out."""

import hashlib
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store.compress.settings import STRICT
from model_store.compress.steps import Step
from model_store.errors import RecipeError
from model_store.manifest import PLAIN_NAME, Precision, Runtime


class Calibration(BaseModel):
    """Recordings that steps look at: `sets` of the folder that is given, or all of it; at most so many, spread out."""

    model_config = STRICT

    sets: tuple[str, ...] = ()
    recordings: int = Field(default=24, ge=1)


class Gate(BaseModel):
    """What a variant may lose and still be registered, in points of WER over its parent."""

    model_config = STRICT

    max_wer_growth: float = Field(ge=0)


class Recipe(BaseModel):
    """How a variant is made of a base variant. `name` is the variant's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=PLAIN_NAME)
    about: str = ""
    precision: Precision
    runtime: Runtime = "onnxruntime"
    seed: int = Field(default=0, ge=0)
    steps: tuple[Annotated[Step, Field(discriminator="step")], ...] = Field(min_length=1)
    calibration: Calibration = Calibration()
    gate: Gate | None = None
    sha256: str = ""


def read(text: bytes, *, origin: str) -> Recipe:
    """The recipe of a TOML text; `origin` is for messages.

    Raises:
        RecipeError: it is no TOML, or not a recipe; says which entry is wrong.
    """
    try:
        facts = tomllib.loads(text.decode())
        return Recipe.model_validate({**facts, "sha256": hashlib.sha256(text).hexdigest()})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(origin, f"it is no TOML: {error}") from error
    except ValidationError as error:
        # A misspelt entry is both: one too many, and one missing. The former names it.
        faults = error.errors(include_url=False)
        fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
        where = ".".join(str(part) for part in fault["loc"])
        raise RecipeError(origin, f"{where}: {fault['msg']}") from error


def find(name: str) -> Recipe:
    """A shipped recipe by its name, or the user's own by the path of its file.

    Raises:
        RecipeError: there is none, or it cannot be used.
    """
    path = Path(name)
    if name in names():
        return shipped(name)
    if path.suffix != ".toml":
        raise RecipeError(
            name, f"Wren comes with no such recipe; it has {', '.join(names())}. One's own is a .toml file"
        )
    try:
        return read(path.read_bytes(), origin=name)
    except OSError as error:
        raise RecipeError(name, error.strerror or str(error)) from error


@cache
def shipped(name: str) -> Recipe:
    """A recipe that comes with Wren."""
    return read((files(__package__) / "recipes" / f"{name}.toml").read_bytes(), origin=f"{name}.toml")


@cache
def names() -> tuple[str, ...]:
    """Of the shipped recipes."""
    folder = files(__package__) / "recipes"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))
