"""A Whisper folder in; the base variant fp32 and the variant int8 out, graphs, configuration and tokenizer each."""

import shutil
from pathlib import Path

import onnx

from model_store.config import FILE_NAME as CONFIG_FILE
from model_store.convert import Built, Report, SourceFormat
from model_store.convert.arithmetic import FP32, INT8, Arithmetic
from model_store.convert.whisper import decoder_graph, encoder_graph
from model_store.convert.whisper_source import WhisperSource, read_ctranslate2, read_huggingface


def build(source_format: SourceFormat, source: Path, target: Path, *, report: Report) -> tuple[Built, ...]:
    read = read_ctranslate2 if source_format == "whisper-ctranslate2" else read_huggingface
    report("reading the weights")
    model = read(source)
    built = []
    for arithmetic, parent, recipe in ((FP32, None, "import"), (INT8, "fp32", "int8")):
        report(f"writing {arithmetic.precision}")
        _write(model, arithmetic, target / arithmetic.precision)
        built.append(Built(arithmetic.precision, arithmetic.precision, "onnxruntime", parent, recipe))
    return tuple(built)


def _write(model: WhisperSource, arithmetic: Arithmetic, folder: Path) -> None:
    folder.mkdir(parents=True)
    onnx.save(encoder_graph(model, arithmetic), folder / "encoder.onnx")
    onnx.save(decoder_graph(model, arithmetic), folder / "decoder.onnx")
    (folder / CONFIG_FILE).write_text(model.config.model_dump_json(indent=1))
    shutil.copyfile(model.tokenizer, folder / "tokenizer.json")
