"""A model's weights and the builders of its graphs in; the variants fp32 and int8 in their folders out."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import onnx

from model_store.config import FILE_NAME as CONFIG_FILE
from model_store.config import ModelConfig
from model_store.convert import Built, Report
from model_store.convert.arithmetic import FP32, INT8, Arithmetic


class Source(Protocol):
    """What every family's reader gives: the configuration for the service, and the tokenizer's file."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def tokenizer(self) -> Path: ...


S = TypeVar("S", bound=Source)
GraphBuilder = Callable[[S, Arithmetic], onnx.ModelProto]


def write_variants(
    model: S, encoder: GraphBuilder[S], decoder: GraphBuilder[S], target: Path, *, imported: str, report: Report
) -> tuple[Built, ...]:
    """Write the base variant, made by the recipe `imported`, and the INT8 one, each with all that it needs to run."""
    built = []
    for arithmetic, parent, recipe in ((FP32, None, imported), (INT8, "fp32", "int8")):
        report(f"writing {arithmetic.precision}")
        folder = target / arithmetic.precision
        folder.mkdir(parents=True)
        onnx.save(encoder(model, arithmetic), folder / "encoder.onnx")
        onnx.save(decoder(model, arithmetic), folder / "decoder.onnx")
        (folder / CONFIG_FILE).write_text(model.config.model_dump_json(indent=1))
        shutil.copyfile(model.tokenizer, folder / "tokenizer.json")
        built.append(Built(arithmetic.precision, arithmetic.precision, "onnxruntime", parent, recipe))
    return tuple(built)
