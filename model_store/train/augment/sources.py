"""A folder of recordings in; one of them at a time out, decoded when it is asked for."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from model_store.errors import CompressionError
from model_store.evaluate.layouts import loose
from service.audio.decode import Limits, decode
from service.audio.types import Samples
from service.errors import WrenError

_KEPT = 16
_LONGEST_S = 60.0
"""Of a recording: a noise that is longer is heard from its start alone."""


class Sounds:
    """The recordings of a folder; the latest are kept in memory."""

    def __init__(self, folder: Path) -> None:
        layout = loose(folder, "und") if folder.is_dir() else None
        if layout is None:
            raise CompressionError("augmentation", f"there are no recordings in {folder}")
        self._paths = [one.path for name in layout.default for one in layout.sets[name]()]
        self._read = lru_cache(_KEPT)(_read)

    def any(self, random: np.random.Generator) -> Samples:
        """One of them.

        Raises:
            CompressionError: it cannot be decoded.
        """
        return self._read(self._paths[int(random.integers(len(self._paths)))])


def _read(path: Path) -> Samples:
    try:
        return decode(path, limits=Limits(max_duration_s=24 * 3600.0)).samples[: round(_LONGEST_S * 16_000)]
    except WrenError as error:
        raise CompressionError("augmentation", f"{path.name} cannot be decoded: {error}") from error
