"""Networks in torch compute what the graphs of the base variants compute; rounded ones come near."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from service.audio.types import SAMPLE_RATE, Samples
from service.backends.base import EncoderBatch, Floats
from service.backends.onnx import OnnxMemory
from service.backends.torch.network import Layers, Network
from service.backends.torch.networks import built, load
from service.backends.torch.weights import Weights
from service.recognition.families import load as load_family
from tests.audio.speech import talk
from tests.recognition.models import BASE, TINY, backend
from tests.store import folder

MOONSHINE = "moonshine-tiny"
MODELS = (TINY, BASE, MOONSHINE)
KINDS = {
    "fp16": {"compute": "float16"},
    "bf16": {"compute": "bfloat16"},
    "int8": {"compute": "bfloat16", "int8": "dynamic"},
    "int8-weights": {"compute": "bfloat16", "int8": "weights"},
}
CPU, META = torch.device("cpu"), torch.device("meta")

LENGTHS = (1, 159, 161, SAMPLE_RATE - 1, SAMPLE_RATE, 3 * SAMPLE_RATE + 77, 5 * SAMPLE_RATE, 9 * SAMPLE_RATE)
EXACT = 3e-3
"""Of keys, values and logits, which are some 5 and 25 in size: float32, added up in another order."""

NEAR = {"fp16": 0.005, "bf16": 0.1, "int8": 0.25, "int8-weights": 0.15}
"""How long a difference may be against the vector itself, in activations and logits."""

SPAN = 64
Made = Callable[[str, str], Path]


@cache
def network(model: str) -> Network:
    """The base variant, in float32."""
    return load(folder(model, "fp32"), CPU)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The folder of a variant of some kind, made of the base variant of a model."""

    @cache
    def write_once(model: str, kind: str) -> Path:
        target = tmp_path_factory.mktemp(model)
        shutil.copy(folder(model, "fp32") / "config.json", target)
        there = Weights.read(folder(model, "fp32"), CPU)
        tensors = dict(form for name, tensor in there.tensors().items() for form in formed(name, tensor, kind))
        facts = json.dumps({**there.facts, **KINDS[kind]})
        save_file(tensors, target / "weights.safetensors", {"wren": facts})
        return target

    return write_once


def formed(name: str, tensor: torch.Tensor, kind: str) -> Iterator[tuple[str, torch.Tensor]]:
    """A tensor of the base variant as one of this kind keeps it, under its name."""
    if "int8" not in KINDS[kind] or tensor.ndim != 2 or "positions" in name:
        yield name, tensor.to(getattr(torch, KINDS[kind]["compute"])).contiguous()
        return
    scale = tensor.abs().amax(1) / 127
    yield name, (tensor / scale[:, None]).round().to(torch.int8)
    yield f"{name}_scale", scale


@cache
def window(length: int) -> Samples:
    """Speech of many languages, cut where it happens to be."""
    return np.tile(talk(), 2)[length // 7 :][:length]


def batch(model: str, lengths: Sequence[int], *, waveform: bool = True, full: bool = False) -> EncoderBatch:
    family = load_family(folder(model, "fp32"))
    return EncoderBatch.of([family.features(window(length), full=full, waveform=waveform) for length in lengths])


@cache
def memory(model: str, length: int, *, full: bool = False) -> OnnxMemory:
    """What the graph makes of a window."""
    (found,) = backend(model, "fp32").encode(batch(model, [length], waveform=False, full=full))
    return found


def caches(network: Network, rows: int) -> Layers:
    """What lies in them does not matter, but that it is finite."""
    sizes = network.sizes
    shapes = [(rows, heads, sizes.positions, sizes.head) for heads in sizes.self_heads]
    made = partial(torch.full, fill_value=3.0, dtype=network.dtype, device=network.device)
    return Layers(tuple(made(shape) for shape in shapes), tuple(made(shape) for shape in shapes))


def rows(layers: Layers, which: slice) -> Layers:
    return Layers(tuple(one[which] for one in layers.keys), tuple(one[which] for one in layers.values))


@torch.inference_mode()
def encoded(network: Network, given: EncoderBatch) -> Layers:
    return network.encode(given)


def compared(ours: Layers, row: int, theirs: OnnxMemory) -> list[tuple[Floats, Floats]]:
    """Keys and values of a row as both have them; heads are padded with zeros, which are left out."""
    pairs = []
    for index, (keys, values) in enumerate(zip(ours.keys, ours.values, strict=True)):
        size = theirs.layers[2 * index].shape[2]
        for found, expected in (
            (keys, theirs.layers[2 * index].swapaxes(2, 3)),
            (values, theirs.layers[2 * index + 1]),
        ):
            pairs.append((found[row, :, : theirs.length, :size].float().numpy(), expected[0]))
    return pairs


def distance(ours: Floats, theirs: Floats) -> float:
    """Of two vectors, against the second's length."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("model", MODELS)
def test_float32_encodes_as_the_graph(model: str, length: int) -> None:
    found = encoded(network(model), batch(model, [length]))
    for ours, theirs in compared(found, 0, memory(model, length)):
        np.testing.assert_allclose(ours, theirs, atol=EXACT)


@pytest.mark.parametrize("length", [SAMPLE_RATE, 30 * SAMPLE_RATE])
def test_all_positions_are_encoded_as_by_the_graph(length: int) -> None:
    found = encoded(network(TINY), batch(TINY, [length], full=True))
    for ours, theirs in compared(found, 0, memory(TINY, length, full=True)):
        np.testing.assert_allclose(ours, theirs, atol=EXACT)


@pytest.mark.parametrize("model", MODELS)
def test_a_row_of_a_padded_batch_is_encoded_as_alone(model: str) -> None:
    lengths = (5 * SAMPLE_RATE, 161, 3 * SAMPLE_RATE + 77)
    found = encoded(network(model), batch(model, lengths))
    for row, length in enumerate(lengths):
        for ours, theirs in compared(found, row, memory(model, length)):
            np.testing.assert_allclose(ours, theirs, atol=EXACT)


PROMPTS = ((5, 9, 1), (7,), (300, 12, 44, 1000, 2))
NEXT = ((21,), (400,), (3,))
WINDOWS = (SAMPLE_RATE, 5 * SAMPLE_RATE, 3 * SAMPLE_RATE + 77)


@cache
def told(model: str) -> tuple[tuple[Floats, Floats], ...]:
    """Logits and attention that the graph gives: for a prompt a row, then for a token of all rows at once."""
    ours = [memory(model, length) for length in WINDOWS]
    together = backend(model, "fp32").open(capacity=3, length=max(one.length for one in ours))
    for one in ours:
        together.join(one)
    steps = []
    for slot, prompt in enumerate(PROMPTS):
        step = together.step(np.array([prompt]), first=slot, wanted=(0, -1))
        steps.append((step.logits.copy(), step.attention.copy()))
    step = together.step(np.array(NEXT))
    return (*steps, (step.logits.copy(), step.attention.copy()))


@torch.inference_mode()
def steps(network: Network, model: str, *, looks: bool = True) -> list[tuple[Floats, Floats]]:
    """What `told` tells, of a network."""
    given = batch(model, WINDOWS)
    cross, log_weights = network.encode(given), torch.from_numpy(given.log_weights)
    ours, found = caches(network, 4), []
    for slot, prompt in enumerate(PROMPTS):
        row = slice(slot, slot + 1)
        start = torch.zeros(1, dtype=torch.int64)
        found.append(
            network.decode(
                torch.tensor([prompt]),
                start,
                rows(ours, row),
                rows(cross, row),
                log_weights[row],
                span=SPAN,
                wanted=(0, -1),
                looks=looks,
            )
        )
    past = torch.tensor([len(prompt) for prompt in PROMPTS])
    step = network.decode(torch.tensor(NEXT), past, ours, cross, log_weights, span=SPAN, wanted=(-1,), looks=looks)
    nothing = torch.zeros(3, 0, 1, 1)
    return [(one.numpy(), (nothing if seen is None else seen).numpy()) for one, seen in (*found, step)]


@pytest.mark.parametrize("model", MODELS)
def test_float32_decodes_as_the_graph(model: str) -> None:
    """Prompts of several lengths, then a step of rows at different places."""
    for (logits, attention), (their_logits, their_attention) in zip(
        steps(network(model), model), told(model), strict=True
    ):
        np.testing.assert_allclose(logits, their_logits, atol=EXACT)
        if model != MOONSHINE:
            np.testing.assert_allclose(attention, their_attention[..., : attention.shape[-1]], atol=EXACT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [TINY, MOONSHINE])
def test_rounded_networks_are_near_the_graph(made: Made, model: str, kind: str) -> None:
    ours = load(made(model, kind), CPU)
    for found, expected in compared(encoded(ours, batch(model, [WINDOWS[1]])), 0, memory(model, WINDOWS[1])):
        assert distance(found, expected) < NEAR[kind]
    for (logits, _), (their_logits, _) in zip(steps(ours, model), told(model), strict=True):
        assert distance(logits, their_logits) < NEAR[kind]


@pytest.mark.parametrize("model", [TINY, MOONSHINE])
def test_looking_changes_no_logit(made: Made, model: str) -> None:
    ours = load(made(model, "bf16"), CPU)
    for (logits, _), (others, _) in zip(steps(ours, model), steps(ours, model, looks=False), strict=True):
        np.testing.assert_array_equal(logits, others)


@torch.inference_mode()
def test_only_the_rows_of_a_step_are_written() -> None:
    ours, given = network(TINY), batch(TINY, [SAMPLE_RATE] * 2)
    cross, log_weights, written = ours.encode(given), torch.from_numpy(given.log_weights), caches(ours, 3)
    past = torch.tensor([4, 0])
    ours.decode(torch.tensor(NEXT[:2]), past, written, cross, log_weights, span=SPAN, wanted=(0,), looks=False)
    changed = [(one != 3.0).any(dim=(1, 3)).nonzero().tolist() for one in (*written.keys, *written.values)]
    assert changed == [[[0, 4], [1, 0]]] * len(changed)


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["int8", "int8-weights"])
def test_int8_rows_are_the_same_in_any_company(made: Made, kind: str) -> None:
    ours, given = load(made(TINY, kind), CPU), batch(TINY, [SAMPLE_RATE] * 8)
    tokens, past = torch.arange(8)[:, None] * 50, torch.zeros(8, dtype=torch.int64)
    step = partial(ours.decode, span=SPAN, wanted=(0,), looks=False)
    cross, log_weights = ours.encode(given), torch.from_numpy(given.log_weights)
    together, _ = step(tokens, past, caches(ours, 8), cross, log_weights)
    for row in range(8):
        some = slice(row, row + 1)
        alone, _ = step(tokens[some], past[some], caches(ours, 1), rows(cross, some), log_weights[some])
        assert distance(alone[0].numpy(), together[row].numpy()) < 0.02


def test_variants_weigh_what_their_files_hold(made: Made) -> None:
    float32 = network(TINY).memory_bytes
    assert float32 == pytest.approx((folder(TINY, "fp32") / "weights.safetensors").stat().st_size, rel=0.001)
    assert load(made(TINY, "bf16"), CPU).memory_bytes == pytest.approx(float32 / 2, rel=0.001)
    for kind in ("int8", "int8-weights"):
        assert load(made(TINY, kind), CPU).memory_bytes < 0.28 * float32


@torch.inference_mode()
def test_layers_may_differ_in_their_heads() -> None:
    """A head whose output is multiplied by zero can as well be cut out."""
    whole, cut = (Weights.read(folder(TINY, "fp32"), CPU).tensors() for _ in range(2))
    for layer in ("encoder.layers.1.self_attn", "decoder.layers.0.self_attn", "decoder.layers.2.encoder_attn"):
        whole[f"{layer}.out_proj.weight"] = whole[f"{layer}.out_proj.weight"].clone()
        whole[f"{layer}.out_proj.weight"][:, 64:128] = 0
        left = torch.tensor([*range(64), *range(128, 384)])
        cut[f"{layer}.out_proj.weight"] = whole[f"{layer}.out_proj.weight"][:, left]
        for name in ("q_proj.weight", "q_proj.bias", "k_proj.weight", "v_proj.weight", "v_proj.bias"):
            cut[f"{layer}.{name}"] = cut[f"{layer}.{name}"][left]
    config = (folder(TINY, "fp32") / "config.json").read_text()
    whole_network, cut_network = (built(Weights(it, {}, CPU), config) for it in (whole, cut))
    assert cut_network.sizes.self_heads == (5, 6, 6, 6)
    assert cut_network.sizes.cross_heads == (6, 6, 5, 6)
    for (ours, _), (theirs, _) in zip(
        steps(cut_network, TINY, looks=False), steps(whole_network, TINY, looks=False), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=EXACT)


def without_values(variant: Path) -> Network:
    """The variant on the device "meta", which is taken for a GPU: to look at a value there is an error."""
    there = Weights.read(variant, CPU)
    weights = Weights({name: tensor.to(META) for name, tensor in there.tensors().items()}, there.facts, META)
    return built(weights, (variant / "config.json").read_text())


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_asked_of_the_device(made: Made, model: str, kind: str) -> None:
    ours = without_values(made(model, kind))
    cross = ours.encode(batch(model, WINDOWS))
    length = cross.keys[0].shape[2]
    log_weights, past = torch.zeros(3, length, device=META), torch.zeros(3, dtype=torch.int64, device=META)
    for count in (1, 4):
        tokens = torch.zeros(3, count, dtype=torch.int64, device=META)
        logits, attention = ours.decode(
            tokens, past, caches(ours, 4), cross, log_weights, span=SPAN, wanted=(0,), looks=True
        )
        assert logits.shape == (3, 1, ours.sizes.vocabulary)
        assert (attention is None) == (model == MOONSHINE)
        if attention is not None:
            assert attention.shape == (3, ours.sizes.alignment_heads, count, length)


@torch.inference_mode()
def test_a_gpu_computes_few_lengths() -> None:
    """Rounded up, but not beyond what there is."""
    ours = without_values(folder(TINY, "fp32"))
    lengths = {ours.encode(batch(TINY, [length])).keys[0].shape[2] for length in range(1, 9 * SAMPLE_RATE, 9001)}
    assert lengths == {192, 256, 320, 384, 448, 512, 576, 640}
    assert ours.encode(batch(TINY, [SAMPLE_RATE], full=True)).keys[0].shape[2] == 1500
