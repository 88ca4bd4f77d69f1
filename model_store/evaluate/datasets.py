"""A folder of recordings in, utterances with their references out. Its layout is recognised by itself."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from model_store.evaluate.errors import DataError
from model_store.evaluate.layouts import Layout, Utterance, common_voice, librispeech, loose, manifests
from model_store.evaluate.scoring import normal

_LAYOUTS = (manifests, common_voice, librispeech)

_LANGUAGES = ("en",)

_KNOWN = (
    "a manifest.jsonl, folders with one each, the .trans.txt of LibriSpeech, or the .tsv and clips/ of Common Voice"
)


def read(
    data: Path,
    *,
    sets: Sequence[str] = (),
    languages: Sequence[str] = (),
    limit: int | None = None,
    referenced_only: bool = True,
) -> tuple[Utterance, ...]:
    """The utterances of a folder, set by set.

    Args:
        data: the folder.
        sets: names of those to read, in this order; the layout's own choice if none is named.
        languages: codes of those to keep; all if none is named.
        limit: so many of each set.
        referenced_only: leave out those without a reference. Else any folder of audio will do: it is taken to be in the
            first of the languages.

    Raises:
        DataError: it is no folder of recordings, a line is broken, a recording missing, or nothing is left.
    """
    layout = _layout(data, None if referenced_only else (languages or _LANGUAGES)[0])
    found: list[Utterance] = []
    for name in sets or layout.default:
        if name not in layout.sets:
            raise DataError(data, f"it has no set {name!r}; in it: {', '.join(layout.sets)}")
        known = (u for u in layout.sets[name]() if not languages or u.lang in languages)
        found += islice((u for u in known if not referenced_only or referenced(u)), limit)
    if not found:
        wanted = f" in {', '.join(languages)}" if languages else ""
        kind = "recording with a reference" if referenced_only else "recording"
        raise DataError(data, f"no {kind}{wanted} is in {', '.join(sets or layout.default)}")
    return tuple(found)


def digest(utterances: Iterable[Utterance]) -> str:
    """The SHA-256 of names and references: the same digest, the same test."""
    summed = hashlib.sha256()
    for utterance in utterances:
        summed.update(f"{utterance.name}\t{utterance.text}\n".encode())
    return summed.hexdigest()


def title(utterances: Iterable[Utterance]) -> str:
    """The names of the sets, joined by "+"."""
    return "+".join(dict.fromkeys(utterance.set_name for utterance in utterances))


def _layout(data: Path, lang: str | None) -> Layout:
    """`lang` is that of loose recordings; None where they are of no use."""
    if not data.is_dir():
        raise DataError(data, "there is no such folder" if not data.exists() else "it is not a folder")
    # Absolute, so that `.` has a name as well; links stay as they are.
    folder = Path(os.path.abspath(data))  # noqa: PTH100 - as said
    found = next((layout for read_ in _LAYOUTS if (layout := read_(folder))), None)
    if found is None and lang is not None:
        found = loose(folder, lang)
    if found is None:
        raise DataError(data, f"no recordings are known of; it should hold {_KNOWN}")
    return found


def referenced(utterance: Utterance) -> bool:
    """Whether there is something to compare a hypothesis with."""
    return bool(normal(utterance.text, utterance.lang))
