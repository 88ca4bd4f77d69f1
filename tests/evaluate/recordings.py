"""Folders of recordings in each layout, from the few that pytest-audioeval carries."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import soundfile

from model_store.evaluate.layouts import Utterance
from tests.live import recording

ENGLISH = ("en/quick_brown_fox", "en/hello_world", "en/counting")


def text(name: str) -> str:
    """What is said in a recording of the package."""
    return recording(name).with_suffix(".txt").read_text().strip()


def manifest_folder(folder: Path, *names: str, **fields: object) -> Path:
    """A set with a manifest.jsonl; `fields` overrule those of each line."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Mapping[str, object]] = []
    for name in names or ENGLISH:
        source = recording(name)
        shutil.copy(source, folder / source.name)
        duration_s = soundfile.info(source).duration
        row = {"audio": source.name, "text": text(name), "lang": name[:2], "duration_s": duration_s, "speaker": "x"}
        rows.append(row | fields)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def librispeech_folder(root: Path, subset: str, *names: str) -> Path:
    """LibriSpeech/SUBSET/7/9/7-9-0000.flac and so on, with their texts."""
    chapter = root / "LibriSpeech" / subset / "7" / "9"
    chapter.mkdir(parents=True)
    lines: list[str] = []
    for index, name in enumerate(names):
        samples, rate = soundfile.read(recording(name))
        soundfile.write(chapter / f"7-9-{index:04}.flac", samples, rate)
        lines.append(f"7-9-{index:04} {text(name).upper()}\n")
    (chapter / "7-9.trans.txt").write_text("".join(lines))
    return root / "LibriSpeech"


def common_voice_folder(folder: Path, *names: str, sets: tuple[str, ...] = ("validated", "test")) -> Path:
    (folder / "clips").mkdir(parents=True)
    lines = ["client_id\tpath\tsentence_id\tsentence\tlocale\n"]
    for name in names:
        source = recording(name)
        shutil.copy(source, folder / "clips" / source.name)
        lines.append(f"c0ffee\t{source.name}\t1\t{text(name)}\t{name[:2]}-XX\n")
    for one in sets:
        (folder / f"{one}.tsv").write_text("".join(lines))
    return folder


def utterance(reference: str, *, index: int = 0, lang: str = "en", set_name: str = "set") -> Utterance:
    """One without a recording."""
    return Utterance(set_name, f"{index}.wav", Path(f"{index}.wav"), reference, lang)
