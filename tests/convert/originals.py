"""The files that models are made from, as the catalogue pins them: fetched once and kept below build/."""

import shutil
from functools import cache
from pathlib import Path

from model_store import catalog
from model_store.report import silent
from model_store.sources import fetch

KEPT = Path(__file__).parents[2] / "build" / "originals"


@cache
def original(model: str) -> Path:
    """The folder with the files of the model's first source."""
    folder = KEPT / model
    if not folder.exists():
        attempt = KEPT / f".{model}"
        shutil.rmtree(attempt, ignore_errors=True)
        files, scratch = attempt / "files", attempt / "scratch"
        for part in (files, scratch):
            part.mkdir(parents=True)
        fetch(catalog.load().get(model).sources[0], files, scratch=scratch, report=silent)
        files.rename(folder)
        shutil.rmtree(attempt)
    return folder
