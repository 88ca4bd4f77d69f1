"""A space of recipes, a TOML file, in; what varies, and the recipe of each choice, out.

recipe = "pruned30-int8"            # a shipped one, or a table with precision and steps as in a recipe's file
objectives = ["wer", "bytes"]       # all of them as small as can be

[vary]
"steps.0.share" = {low = 0.1, high = 0.5}
"steps.0.criterion" = ["magnitude", "activation"]
"""

import copy
import hashlib
import itertools
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from model_store import toml_text
from model_store.compress import recipe as recipes
from model_store.compress.recipe import Recipe
from model_store.compress.settings import STRICT
from model_store.errors import RecipeError

Value = bool | int | float | str
Values = Mapping[str, Value]
"""A choice: by the path of each setting that varies."""

Objective = Literal["wer", "bytes", "latency_p50_ms", "peak_bytes", "load_ms"]

_GRID = 1000
"""Points of a grid at most: who asks for more has not counted them."""


class Range(BaseModel):
    """Numbers from `low` to `high`; whole ones if both are. `step` is the distance of those that a grid tries."""

    model_config = STRICT

    low: int | float
    high: int | float
    step: int | float | None = Field(default=None, gt=0)
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("a range of orders of magnitude begins above 0")
        if self.log and self.step is not None:
            raise ValueError("step and log do not go together")
        return self

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def points(self) -> tuple[Value, ...]:
        """Of a grid: by its steps; whole numbers without any, one by one.

        Raises:
            ValueError: it has no step.
        """
        step = 1 if self.whole and self.step is None and not self.log else self.step
        if step is None:
            raise ValueError("a grid needs a step, or a list of values")
        count = int((self.high - self.low) / step + 1e-9) + 1
        found = [self.low + index * step for index in range(count)]
        return tuple(int(one) if self.whole and isinstance(step, int) else round(float(one), 12) for one in found)


class Space(BaseModel):
    """What is searched.

    Attributes:
        recipe: the name of a shipped recipe, or the facts of one.
        vary: by path, such as `steps.0.share`: the values, or their range.
        objectives: what is to be small.
    """

    model_config = STRICT

    recipe: str | dict[str, object]
    vary: dict[str, tuple[Value, ...] | Range] = Field(min_length=1)
    objectives: tuple[Objective, ...] = Field(default=("wer", "bytes"), min_length=1)

    @property
    def digest(self) -> str:
        """Of all that a trial depends on but its choice."""
        return hashlib.sha256(f"{self.model_dump_json()} {self._facts()}".encode()).hexdigest()

    def recipe_of(self, values: Values, name: str) -> Recipe:
        """The recipe of a choice.

        Raises:
            RecipeError: a setting is not one of the recipe's, or a value is none of its.
        """
        return recipes.read(self.text_of(values, name).encode(), origin=name)

    def text_of(self, values: Values, name: str) -> str:
        """The same as the text of a file."""
        facts = {"precision": "fp32", **self._facts(), "name": name}
        facts["about"] = ", ".join(f"{path} = {value}" for path, value in values.items())
        facts.pop("gate", None)  # a search judges by what it measures
        for path, value in values.items():
            _put(facts, path, value)
        return toml_text.document(facts)

    def grid(self) -> Iterator[dict[str, Value]]:
        """Every choice of a grid, in order.

        Raises:
            RecipeError: a range has no step, or there are too many.
        """
        try:
            points = [one.points() if isinstance(one, Range) else one for one in self.vary.values()]
        except ValueError as error:
            raise RecipeError("vary", str(error)) from error
        count = 1
        for one in points:
            count *= len(one)
        if count > _GRID:
            raise RecipeError("vary", f"a grid of {count} points is more than {_GRID}; take fewer values, or bayes")
        return (dict(zip(self.vary, choice, strict=True)) for choice in itertools.product(*points))

    def _facts(self) -> dict[str, object]:
        if isinstance(self.recipe, str):
            if self.recipe not in recipes.names():
                raise RecipeError(self.recipe, f"Wren comes with no such recipe; it has {', '.join(recipes.names())}")
            file = files("model_store.compress") / "recipes" / f"{self.recipe}.toml"
            return tomllib.loads(file.read_text(encoding="utf-8"))
        return copy.deepcopy(self.recipe)


def read(path: Path) -> Space:
    """The space of a file; its ends are checked to be recipes.

    Raises:
        RecipeError: it cannot be read, is no space, or varies what the recipe has not.
    """
    try:
        space = Space.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(str(path), f"it cannot be read ({error})") from error
    except ValidationError as error:
        # What may be a list or a range is wrong as both; a table was meant to be a range.
        faults = error.errors(include_url=False)
        fault = next((one for one in faults if one["type"] != "tuple_type"), faults[0])
        where = ".".join(str(part) for part in fault["loc"])
        raise RecipeError(str(path), f"{where}: {fault['msg']}") from error
    for end in (0, -1):
        space.recipe_of({path: _end(one, end) for path, one in space.vary.items()}, "trial")
    return space


def _end(given: tuple[Value, ...] | Range, end: int) -> Value:
    if isinstance(given, Range):
        return given.low if end == 0 else given.high
    return given[end]


def _put(facts: dict[str, object], path: str, value: Value) -> None:
    """Sets an entry; lists are entered by number, tables on the way are made.

    Raises:
        RecipeError: there is no such place.
    """
    *way, last = path.split(".")
    place: object = facts
    for part in way:
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                raise RecipeError(path, f"the recipe has no {part} there; it has {len(place)} of them, from 0")
            place = place[int(part)]
        elif isinstance(place, dict):
            place = place.setdefault(part, {})
    if not isinstance(place, dict):
        raise RecipeError(path, "it leads to no setting")
    place[last] = value
