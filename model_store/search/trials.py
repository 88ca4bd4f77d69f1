"""Trials on disk: a line of JSON each, written before the next begins.

A search that was stopped goes on behind the last.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from model_store.compress.settings import STRICT
from model_store.errors import RecipeError
from model_store.search.space import Value


class Trial(BaseModel):
    """What became of a choice.

    Attributes:
        number: counted from 0.
        values: the choice.
        objectives: by name; empty where it failed.
        reason: why it failed; empty where it did not.
        seconds: that it took.
    """

    model_config = STRICT

    number: int
    values: dict[str, Value]
    objectives: dict[str, float]
    reason: str
    seconds: float


class Log:
    """The trials of one search in a file."""

    def __init__(self, path: Path, digest: str) -> None:
        """Takes up what is there.

        Raises:
            RecipeError: it is the file of another search.
        """
        self._path = path
        self.trials: list[Trial] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            self._append({"search": digest})
            return
        lines = list(self._whole())
        if not lines or lines[0].get("search") != digest:
            raise RecipeError(str(path), "it holds the trials of another search; name another folder, or delete it")
        self.trials = [Trial.model_validate(line) for line in lines[1:]]

    def add(self, trial: Trial) -> None:
        """On disk when this returns."""
        self._append(trial.model_dump())
        self.trials.append(trial)

    def _append(self, line: dict[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _whole(self) -> Iterator[dict[str, object]]:
        """The lines that were written to their ends; one that was not is dropped."""
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self._path.open("rb+") as file:
                file.truncate(len(whole))
        for line in whole.splitlines():
            yield json.loads(line)
