"""A model of any family between its source and its variants: read from a base variant, written in any form."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from pydantic import ValidationError

from model_store.config import FILE_NAME as CONFIG_FILE
from model_store.config import ModelConfig, MoonshineConfig, WhisperConfig
from model_store.convert import moonshine, tensors, torch_tensors, whisper
from model_store.convert.formats import Float
from model_store.convert.graph import Floats, Stored
from model_store.convert.moonshine_source import MoonshineSource
from model_store.convert.parameters import Form
from model_store.convert.whisper_source import WhisperSource
from model_store.errors import ConversionError
from model_store.manifest import Runtime

TOKENIZER_FILE = "tokenizer.json"
SpeechFamily = Literal["whisper", "moonshine"]
Places = Mapping[str, Stored]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Weights in float32 by name, the configuration for the service, the tokenizer's file.

    Attributes:
        facts: what neither the shapes nor the configuration tell.
    """

    family: SpeechFamily
    weights: Mapping[str, Floats]
    config: ModelConfig
    tokenizer: Path
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_whisper(cls, source: WhisperSource) -> "Model":
        return cls("whisper", source.weights, source.config, source.tokenizer)

    @classmethod
    def of_moonshine(cls, source: MoonshineSource) -> "Model":
        return cls("moonshine", source.weights, source.config, source.tokenizer, source.facts)

    def having(self, weights: Mapping[str, Floats], config: ModelConfig | None = None) -> "Model":
        """The model with other weights."""
        return replace(self, weights=weights, config=config or self.config)


@dataclass(frozen=True, slots=True, eq=False)
class Graphs:
    encoder: onnx.ModelProto
    decoder: onnx.ModelProto


def graphs(model: Model, form: Form, stored: Places | None = None) -> Graphs:
    """The model's graphs; they refer to tensors that are `stored`, and hold the others."""
    return _BUILDERS[model.family](model, form, stored)


def _whisper(model: Model, form: Form, stored: Places | None) -> Graphs:
    if not isinstance(model.config, WhisperConfig):
        raise TypeError(f"a {type(model.config).__name__} of Whisper")
    source = WhisperSource(model.weights, model.config, model.tokenizer)
    return Graphs(whisper.encoder_graph(source, form, stored), whisper.decoder_graph(source, form, stored))


def _moonshine(model: Model, form: Form, stored: Places | None) -> Graphs:
    if not isinstance(model.config, MoonshineConfig):
        raise TypeError(f"a {type(model.config).__name__} of Moonshine")
    source = MoonshineSource.restored(model.weights, model.config, model.tokenizer, model.facts)
    return Graphs(moonshine.encoder_graph(source, form, stored), moonshine.decoder_graph(source, form, stored))


_BUILDERS: Mapping[SpeechFamily, Callable[[Model, Form, Places | None], Graphs]] = {
    "whisper": _whisper,
    "moonshine": _moonshine,
}


def write(model: Model, form: Form, folder: Path, *, runtime: Runtime = "onnxruntime") -> None:
    """A variant's files into a new folder, all that it needs to run.

    Raises:
        CompressionError: the matrices' forms do not go together on that runtime.
    """
    folder.mkdir(parents=True)
    if runtime == "torch":
        kept, how = torch_tensors.formed(model.weights, form)
        tensors.write(folder / tensors.FILE_NAME, kept, _facts(model) | how)
    else:
        _write_graphs(model, form, folder)
    (folder / CONFIG_FILE).write_text(model.config.model_dump_json(indent=1))
    shutil.copyfile(model.tokenizer, folder / TOKENIZER_FILE)


def _write_graphs(model: Model, form: Form, folder: Path) -> None:
    """Where every matrix has the same width, the tensors lie as trained in a file beside the graphs; else in them."""
    stored: Places | None = None
    kind = _kind(model, form)
    if kind is not None:
        kept = {name: weight.astype(kind, copy=False) for name, weight in model.weights.items()}
        tensors.write(folder / tensors.FILE_NAME, kept, _facts(model))
        stored = tensors.places(folder / tensors.FILE_NAME)
    built = graphs(model, form, stored)
    onnx.save(built.encoder, folder / "encoder.onnx")
    onnx.save(built.decoder, folder / "decoder.onnx")


def _facts(model: Model) -> dict[str, str]:
    return {"family": model.family, **model.facts}


def _kind(model: Model, form: Form) -> type[np.float32 | np.float16] | None:
    """Of all matrices; None where they differ."""
    if not form.formats:
        return np.float32
    kept = {form.formats.get(name) for name, weight in model.weights.items() if weight.ndim > 1}
    return np.float16 if kept == {Float(16)} else None


def read(folder: Path) -> Model:
    """The model of a base variant.

    Raises:
        ConversionError: the variant has no weights as trained, or a file is damaged.
    """
    weights, facts = tensors.read(folder / tensors.FILE_NAME)
    family = facts.get("family")
    try:
        config = json.loads((folder / CONFIG_FILE).read_bytes())
        if family == "whisper":
            return Model("whisper", weights, WhisperConfig.model_validate(config), folder / TOKENIZER_FILE, facts)
        if family == "moonshine":
            return Model("moonshine", weights, MoonshineConfig.model_validate(config), folder / TOKENIZER_FILE, facts)
    except (OSError, ValueError, ValidationError) as error:
        raise ConversionError(folder / CONFIG_FILE, str(error).splitlines()[0]) from error
    raise ConversionError(folder / tensors.FILE_NAME, f"it is of no family that is known here ({family})")
