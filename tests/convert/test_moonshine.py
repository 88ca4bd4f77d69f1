import json
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import jiwer
import numpy as np
import pytest
from safetensors.numpy import save_file

from model_store.config import MoonshineConfig
from model_store.convert import convert
from model_store.convert.graph import Floats
from model_store.convert.moonshine import decoder_graph, encoder_graph
from model_store.convert.moonshine_source import MoonshineSource, Rotary, read_huggingface, read_ort
from model_store.convert.parameters import Form
from model_store.errors import ConversionError
from service.backends.base import EncoderBatch, Features
from service.backends.onnx import OnnxBackend
from service.recognition.families.moonshine import Moonshine
from tests.audio.speech import recording
from tests.convert.moonshine_reference import START, Reference
from tests.convert.originals import original

CLIPS = ("en/counting", "en/hello_world", "en/quick_brown_fox")
END = 2


@cache
def source() -> MoonshineSource:
    return read_ort(original("moonshine-tiny"))


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("moonshine")
    built = convert("moonshine-ort", original("moonshine-tiny"), target)
    assert [(variant.variant, variant.parent) for variant in built] == [("fp32", None), ("int8", "fp32")]
    return target


def clip(name: str) -> Floats:
    """A recording that is a whole number of positions long, and so not padded by either side."""
    samples = recording(name)
    return samples[: (len(samples) - 511) // 384 * 384 + 511]


def batch(samples: Floats) -> EncoderBatch:
    positions = (len(samples) - 511) // 384
    none = np.zeros(positions, np.int64)
    features = Features(np.append(samples, np.float32(0)), 0.0, none, none, np.zeros(positions, np.float32))
    return EncoderBatch.of([features])


def forced(folder: Path, samples: Floats, tokens: list[int]) -> Floats:
    """Our logits [tokens, vocabulary] behind each of these tokens."""
    backend = OnnxBackend(folder, threads=1)
    (memory,) = backend.encode(batch(samples))
    rows = backend.open(capacity=1, length=memory.length)
    rows.join(memory)
    return np.stack([rows.step(np.array([[token]])).logits[0, 0].copy() for token in tokens])


def chosen(reference: Reference, samples: Floats, limit: int = 40) -> Iterator[tuple[int, Floats]]:
    """Each token that the original says, the start first, with its logits behind it."""
    reference.begin(reference.encode(samples))
    token = START
    for _ in range(limit):
        logits = reference.step(token)
        yield token, logits
        token = int(logits.argmax())
        if token == END:
            return


@pytest.mark.parametrize("name", CLIPS)
def test_fp32_equals_the_original_without_its_quantisation(name: str, variants: Path) -> None:
    reference, samples = Reference(original("moonshine-tiny"), "float"), clip(name)
    tokens, logits = zip(*chosen(reference, samples), strict=True)
    ours = forced(variants / "fp32", samples, list(tokens))
    np.testing.assert_allclose(ours, np.stack(logits), atol=5e-4)
    assert [int(row.argmax()) for row in ours] == [int(row.argmax()) for row in logits]


@pytest.mark.parametrize("name", CLIPS)
def test_encoder_equals_the_original_without_its_quantisation(name: str, variants: Path) -> None:
    reference, samples = Reference(original("moonshine-tiny"), "float"), clip(name)
    reference.begin(reference.encode(samples))
    reference.step(START)
    (ours,) = OnnxBackend(variants / "fp32", threads=1).encode(batch(samples))
    for index, (mine, theirs) in enumerate(zip(ours.layers, reference.cross(), strict=True)):
        row = mine[0].swapaxes(1, 2) if index % 2 == 0 else mine[0]
        np.testing.assert_allclose(row, theirs, atol=5e-4)


@pytest.mark.parametrize("variant", ["fp32", "int8"])
@pytest.mark.parametrize("name", CLIPS)
def test_logits_follow_those_of_the_quantised_original(name: str, variant: str, variants: Path) -> None:
    """Both round activations, each in its own place: what must agree is the direction, not the digits."""
    tokens, logits = zip(*chosen(Reference(original("moonshine-tiny"), "quantised"), clip(name)), strict=True)
    ours = forced(variants / variant, clip(name), list(tokens))
    likeness = [float(np.corrcoef(mine, theirs)[0, 1]) for mine, theirs in zip(ours, logits, strict=True)]
    assert min(likeness) > 0.97
    assert np.mean(likeness) > 0.99


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_text_is_that_of_the_quantised_original(variant: str, variants: Path) -> None:
    reference = Reference(original("moonshine-tiny"), "quantised")
    family = _family(variants / variant)
    theirs, ours = [], []
    for name in CLIPS:
        tokens = [token for token, _ in chosen(reference, clip(name))][1:]
        theirs.append(_text(family, tokens))
        ours.append(_text(family, _greedy(OnnxBackend(variants / variant, threads=1), clip(name))))
    assert jiwer.wer(theirs, ours) <= 0.05


def test_huggingface_folder_gives_the_same_graphs(tmp_path: Path) -> None:
    write_huggingface(tmp_path, source())
    read = read_huggingface(tmp_path)
    assert read.config == source().config
    assert read.rotary == source().rotary == Rotary(size=32, theta=10_000)
    assert set(read.weights) == set(source().weights)
    for graph in (encoder_graph, decoder_graph):
        assert graph(read, Form()) == graph(source(), Form())


def test_huggingface_folder_becomes_two_variants(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    write_huggingface(tmp_path / "source", source())
    built = convert("moonshine-huggingface", tmp_path / "source", tmp_path / "target")
    assert [(variant.variant, variant.precision, variant.recipe) for variant in built] == [
        ("fp32", "fp32", "import"),
        ("int8", "int8", "int8"),
    ]
    files = {"encoder.onnx", "decoder.onnx", "config.json", "tokenizer.json"}
    assert {path.name for path in (tmp_path / "target" / "int8").iterdir()} == files
    assert {path.name for path in (tmp_path / "target" / "fp32").iterdir()} == files | {"weights.safetensors"}


SMALL = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "vocab_size": 60,
    "encoder_num_hidden_layers": 1,
    "decoder_num_hidden_layers": 2,
    "encoder_num_attention_heads": 4,
    "decoder_num_attention_heads": 3,
    "max_position_embeddings": 20,
    "decoder_start_token_id": 5,
    "eos_token_id": 7,
}


def test_sizes_are_read_from_the_configuration(tmp_path: Path) -> None:
    facts = {**SMALL, "rope_parameters": {"rope_theta": 500.0, "partial_rotary_factor": 0.5, "rope_type": "default"}}
    write_huggingface(tmp_path, small_source(), facts)
    read = read_huggingface(tmp_path)
    assert read.rotary == Rotary(size=6, theta=500.0)
    assert read.config == MoonshineConfig(
        vocabulary=60, max_positions=20, start_token=5, end_token=7, position_samples=384, context_samples=512
    )
    assert (read.encoder_heads, read.encoder_layers, read.decoder_heads, read.decoder_layers) == (4, 1, 3, 2)


def test_graphs_of_any_sizes_run(tmp_path: Path) -> None:
    write_huggingface(tmp_path, small_source(), SMALL)
    convert("moonshine-huggingface", tmp_path, tmp_path / "target")
    samples = np.random.default_rng(3).standard_normal(384 * 9 + 511).astype(np.float32)
    for variant in ("fp32", "int8"):
        logits = forced(tmp_path / "target" / variant, samples, [5, 1, 2])
        assert logits.shape == (3, 60)
        assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"model_type": "whisper"}, "model_type"),
        ({"decoder_hidden_act": "gelu"}, "decoder_hidden_act"),
        ({"attention_bias": True}, "attention_bias"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"decoder_num_key_value_heads": 1}, "decoder_num_key_value_heads"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type"),
        ({"hidden_size": "wide"}, "hidden_size"),
    ],
)
def test_what_the_graphs_do_not_compute_is_refused_by_name(
    tmp_path: Path, facts: dict[str, object], named: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "moonshine", **facts}))
    with pytest.raises(ConversionError, match=rf"config\.json.*{named}"):
        read_huggingface(tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    write_huggingface(tmp_path, small_source(), SMALL)
    (tmp_path / missing).unlink()
    with pytest.raises(ConversionError, match=missing):
        read_huggingface(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, small_source(), SMALL)
    save_file({"model.decoder.norm.weight": np.ones(48, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ConversionError, match=r"no Moonshine model: encoder\.conv1\.weight is missing"):
        read_huggingface(tmp_path)


@pytest.mark.parametrize("name", ["encoder_model.ort", "decoder_model_merged.ort"])
def test_a_cut_ort_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "source"
    shutil.copytree(original("moonshine-tiny"), folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ConversionError, match=name):
        read_ort(folder)


def write_huggingface(folder: Path, model: MoonshineSource, facts: Mapping[str, object] | None = None) -> None:
    """The folder as transformers writes it (`MoonshineForConditionalGeneration.save_pretrained`)."""
    weights = {f"model.{name}": np.ascontiguousarray(array) for name, array in model.weights.items()}
    save_file(weights, folder / "model.safetensors")
    tiny = {"max_position_embeddings": 194, "partial_rotary_factor": 0.9, "rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps({"model_type": "moonshine", **(tiny if facts is None else facts)}))
    shutil.copyfile(original("moonshine-tiny") / "tokenizer.json", folder / "tokenizer.json")


def small_source() -> MoonshineSource:
    """Random weights in the shapes that SMALL speaks of."""
    rng, width, inner = np.random.default_rng(1), 48, 80
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (width, 1, 127),
        "encoder.groupnorm.weight": (width,),
        "encoder.groupnorm.bias": (width,),
        "encoder.conv2.weight": (2 * width, width, 7),
        "encoder.conv2.bias": (2 * width,),
        "encoder.conv3.weight": (width, 2 * width, 3),
        "encoder.conv3.bias": (width,),
        "encoder.layer_norm.weight": (width,),
        "decoder.embed_tokens.weight": (60, width),
        "decoder.norm.weight": (width,),
    }
    for side, layers, gates in (("encoder", 1, 1), ("decoder", 2, 2)):
        for layer in range(layers):
            name = f"{side}.layers.{layer}"
            attentions = ("self_attn",) if side == "encoder" else ("self_attn", "encoder_attn")
            shapes |= {f"{name}.{part}.{kind}_proj.weight": (width, width) for part in attentions for kind in "qkvo"}
            norms = ("input", "post_attention") if side == "encoder" else ("input", "post_attention", "final")
            shapes |= {f"{name}.{norm}_layernorm.weight": (width,) for norm in norms}
            shapes |= {f"{name}.mlp.fc1.weight": (gates * inner, width), f"{name}.mlp.fc1.bias": (gates * inner,)}
            shapes |= {f"{name}.mlp.fc2.weight": (width, inner), f"{name}.mlp.fc2.bias": (width,)}
    weights = {name: (rng.standard_normal(shape) * 0.1).astype(np.float32) for name, shape in shapes.items()}
    config = source().config
    return MoonshineSource(weights, 4, 3, Rotary(size=6, theta=500.0), config, source().tokenizer)


def _family(folder: Path) -> Moonshine:
    return Moonshine(folder, MoonshineConfig.model_validate_json((folder / "config.json").read_text()))


def _greedy(backend: OnnxBackend, samples: Floats) -> list[int]:
    (memory,) = backend.encode(batch(samples))
    rows = backend.open(capacity=1, length=memory.length)
    rows.join(memory)
    tokens = [START]
    while len(tokens) < 40:
        tokens.append(int(rows.step(np.array([[tokens[-1]]])).logits.argmax()))
        if tokens[-1] == END:
            return tokens[1:-1]
    return tokens[1:]


def _text(family: Moonshine, tokens: list[int]) -> str:
    return b"".join(family.tokenizer.pieces(tokens)).decode().strip()
