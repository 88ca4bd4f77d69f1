"""A Moonshine folder in; the base variant fp32 and the variant int8 out."""

from pathlib import Path

from model_store.convert import Built, Report, SourceFormat
from model_store.convert.model import Model
from model_store.convert.moonshine_source import read_huggingface, read_ort
from model_store.convert.variants import write_variants


def build(source_format: SourceFormat, source: Path, target: Path, *, report: Report) -> tuple[Built, ...]:
    """See `model_store.convert.convert`. What was quantised at its source is dequantised for the base variant."""
    read, imported = (read_ort, "dequantised") if source_format == "moonshine-ort" else (read_huggingface, "import")
    report("reading the weights")
    return write_variants(Model.of_moonshine(read(source)), target, imported=imported, report=report)
