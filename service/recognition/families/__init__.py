"""The model families: what differs between Whisper and Moonshine. `load` picks the one a variant's folder holds."""

import json
from pathlib import Path

from model_store.config import FILE_NAME, MoonshineConfig, WhisperConfig
from service.recognition.families.base import Family
from service.recognition.families.moonshine import Moonshine
from service.recognition.families.whisper import Whisper

FILES = (FILE_NAME, "tokenizer.json")
"""What a family is read from: the model's, so all of its variants have the same."""


def load(folder: Path) -> Family:
    """The family of the variant in `folder`, from its config.json and tokenizer.json."""
    text = (folder / FILE_NAME).read_text()
    if json.loads(text)["family"] == "whisper":
        return Whisper(folder, WhisperConfig.model_validate_json(text))
    return Moonshine(folder, MoonshineConfig.model_validate_json(text))
