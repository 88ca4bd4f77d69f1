import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from model_store.convert import SourceFormat, convert
from model_store.convert.parameters import Form
from model_store.convert.whisper import decoder_graph, encoder_graph
from model_store.convert.whisper_source import WhisperSource, read_ctranslate2, read_huggingface
from model_store.errors import ConversionError
from service.backends.base import EncoderBatch, Features
from service.backends.onnx import OnnxBackend
from tests.convert.whisper_folders import small, tiny, write_ctranslate2, write_huggingface


def test_facts_of_the_english_model() -> None:
    config = tiny().config
    assert config.vocabulary == 51_864
    assert (config.max_positions, config.mel_bins, config.end_token) == (448, 80, 50_256)
    assert (config.start_token, config.no_timestamps_token, config.previous_token) == (50_257, 50_362, 50_360)
    assert (config.no_speech_token, config.first_timestamp_token) == (50_361, 50_363)
    assert (config.languages, config.first_language_token, config.translate_token) == (("en",), None, None)
    assert config.suppressed_first_tokens == (220, 50_256)
    assert (tiny().width, tiny().heads, tiny().encoder_layers, tiny().decoder_layers) == (384, 6, 4, 4)
    assert all(layer < 4 and head < 6 for layer, head in config.alignment_heads)


def test_huggingface_folder_gives_the_same_graphs(tmp_path: Path) -> None:
    write_huggingface(tmp_path, tiny())
    read = read_huggingface(tmp_path)
    assert read.config == tiny().config
    for graph in (encoder_graph, decoder_graph):
        assert graph(read, Form()) == graph(tiny(), Form())


def test_both_formats_become_the_same_files(tmp_path: Path) -> None:
    formats: dict[SourceFormat, Path] = {
        "whisper-ctranslate2": tmp_path / "ct2",
        "whisper-huggingface": tmp_path / "hf",
    }
    write_ctranslate2(formats["whisper-ctranslate2"], small())
    write_huggingface(formats["whisper-huggingface"], small())
    for source_format, source in formats.items():
        built = convert(source_format, source, source / "built")
        assert [(one.variant, one.precision, one.parent) for one in built] == [
            ("fp32", "fp32", None),
            ("int8", "int8", "fp32"),
        ]
    for variant in ("fp32", "int8"):
        ours, theirs = (source / "built" / variant for source in formats.values())
        weights = {"weights.safetensors"} if variant == "fp32" else set()
        assert {path.name for path in ours.iterdir()} == weights | {
            "encoder.onnx", "decoder.onnx", "config.json", "tokenizer.json",
        }  # fmt: skip
        for path in ours.iterdir():
            assert path.read_bytes() == (theirs / path.name).read_bytes(), path.name


def test_the_generation_config_goes_before_the_config(tmp_path: Path) -> None:
    write_huggingface(tmp_path, small(), generation={"suppress_tokens": [-1, 5, 6], "alignment_heads": [[1, 0]]})
    config = read_huggingface(tmp_path).config
    assert (config.suppressed_tokens, config.alignment_heads) == ((5, 6), ((1, 0),))
    (tmp_path / "generation_config.json").unlink()
    without = read_huggingface(tmp_path).config
    assert without.suppressed_tokens == small().config.suppressed_tokens


def test_without_a_list_the_upper_half_of_the_heads_is_aligned(tmp_path: Path) -> None:
    write_huggingface(tmp_path, small(), generation={"alignment_heads": None})
    assert read_huggingface(tmp_path).config.alignment_heads == ((1, 0), (1, 1))


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_graphs_of_other_sizes_run(tmp_path: Path, variant: str) -> None:
    write_huggingface(tmp_path, small())
    convert("whisper-huggingface", tmp_path, tmp_path / "built")
    backend = OnnxBackend(tmp_path / "built" / variant, threads=1)
    places = np.arange(20)
    features = Features(np.ones((80, 40), np.float32), 0.0, places, places, np.zeros(20, np.float32))
    rows = backend.open(capacity=1, length=20)
    (memory,) = backend.encode(EncoderBatch.of([features]))
    rows.join(memory)
    step = rows.step(np.array([[1, 2, 3]]))
    assert step.logits.shape == (1, 1, 51_864)
    assert step.attention.shape == (1, 2, 3, 20)
    assert np.isfinite(step.logits).all()
    np.testing.assert_allclose(step.attention.sum(axis=-1), 1, atol=1e-5)


FILES = {
    "ct2": ("model.bin", "config.json", "tokenizer.json"),
    "hf": ("model.safetensors", "config.json", "tokenizer.json"),
}
CASES = [(kind, name) for kind, names in FILES.items() for name in names]


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind: str = request.node.callspec.params["kind"]
    (write_ctranslate2 if kind == "ct2" else write_huggingface)(tmp_path, small())
    return tmp_path


def read(kind: str, source: Path) -> WhisperSource:
    return (read_ctranslate2 if kind == "ct2" else read_huggingface)(source)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_missing_file_is_named(kind: str, name: str, source: Path) -> None:
    (source / name).unlink()
    with pytest.raises(ConversionError, match=rf"{name}: the file is missing"):
        read(kind, source)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"no model " * 100], ids=["empty", "list", "text"])
def test_another_file_is_refused_by_name(kind: str, name: str, content: bytes, source: Path) -> None:
    (source / name).write_bytes(content)
    with pytest.raises(ConversionError, match=name):
        read(kind, source)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("kept", [0.3, 0.99])
def test_a_cut_file_is_refused_by_name(kind: str, name: str, kept: float, source: Path) -> None:
    content = (source / name).read_bytes()
    (source / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ConversionError, match=name):
        read(kind, source)


@pytest.mark.parametrize(
    "name",
    [
        "encoder.conv1.weight",
        "encoder.layer_norm.bias",
        "encoder.layers.1.fc2.bias",
        "encoder.layers.0.self_attn.out_proj.weight",
        "decoder.embed_positions.weight",
        "decoder.layers.0.encoder_attn_layer_norm.weight",
        "decoder.layers.1.encoder_attn.v_proj.bias",
    ],
)
@pytest.mark.parametrize("kind", ["hf"])
def test_a_missing_weight_is_named(kind: str, name: str, source: Path) -> None:
    weights = {f"model.{other}": array for other, array in small().weights.items() if other != name}
    save_file(weights, source / "model.safetensors")
    with pytest.raises(ConversionError, match=rf"model\.safetensors: it is no Whisper model: {name} is missing"):
        read(kind, source)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, small())
    save_file({"model.decoder.norm.weight": np.ones(48, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ConversionError, match="it is no Whisper model"):
        read_huggingface(tmp_path)


def test_quantised_weights_are_refused_with_what_to_do(tmp_path: Path) -> None:
    write_ctranslate2(tmp_path, small(), extra={"encoder/layer_0/ffn/linear_0/weight_scale": np.ones(2, np.float32)})
    with pytest.raises(ConversionError, match=r"model\.bin: its weights are quantised; convert the original to float"):
        read_ctranslate2(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, small())
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"content": "<|endoftext|>", "id": 1}]}))
    with pytest.raises(ConversionError, match=r"tokenizer\.json: the token <\|startoftranscript\|> is missing"):
        read_huggingface(tmp_path)
