"""A Whisper folder in; the base variant fp32 and the variant int8 out."""

from pathlib import Path

from model_store.convert import Built, Report, SourceFormat
from model_store.convert.model import Model
from model_store.convert.variants import write_variants
from model_store.convert.whisper_source import read_ctranslate2, read_huggingface


def build(source_format: SourceFormat, source: Path, target: Path, *, report: Report) -> tuple[Built, ...]:
    """See `model_store.convert.convert`."""
    read = read_ctranslate2 if source_format == "whisper-ctranslate2" else read_huggingface
    report("reading the weights")
    return write_variants(Model.of_whisper(read(source)), target, imported="import", report=report)
