from functools import cache

import numpy as np
import pytest

from service.audio.types import SAMPLE_RATE, Samples
from service.backends.onnx import OnnxBackend, OnnxMemory
from service.backends.sequences import Job
from service.recognition.decoding import decode
from service.recognition.families import load
from service.recognition.families.base import Family
from service.recognition.types import Options
from tests.audio.speech import recording
from tests.recognition.models import batch_of, same
from tests.store import folder

MINUTE = 60 * SAMPLE_RATE


@cache
def family() -> Family:
    return load(folder("moonshine-tiny", "fp32"))


@cache
def backend(variant: str) -> OnnxBackend:
    return OnnxBackend(folder("moonshine-tiny", variant), threads=1)


@cache
def speech() -> Samples:
    """Three sentences, again and again."""
    clips = [recording(name) for name in ("en/counting", "en/hello_world", "en/quick_brown_fox")]
    return np.tile(np.concatenate(clips), 20)[:MINUTE]


def encode(variant: str, *windows: Samples) -> list[OnnxMemory]:
    return backend(variant).encode(batch_of(family(), *windows))


def text(variant: str, *windows: Samples) -> list[str]:
    prompt = family().prompt(Options(), task="transcribe", language="en")
    limits = [family().token_limit(len(window) / SAMPLE_RATE) for window in windows]
    jobs = [Job(memory, prompt, limit) for memory, limit in zip(encode(variant, *windows), limits, strict=True)]
    found = decode(backend(variant), family(), jobs)
    return [b"".join(family().tokenizer.pieces(hypothesis.tokens)).decode().strip() for hypothesis in found]


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_says_what_is_said(variant: str) -> None:
    clips = [recording(name) for name in ("en/counting", "en/quick_brown_fox")]
    counting, fox = text(variant, *clips)
    assert counting.lower().startswith("one")
    assert "quick brown fox" in fox.lower()


LENGTHS = (1, 1599, SAMPLE_RATE, SAMPLE_RATE + 1, 20096, 20097, 5 * SAMPLE_RATE, 12 * SAMPLE_RATE + 77)


@pytest.mark.parametrize("variant", ["fp32", "int8"])
@pytest.mark.parametrize("length", LENGTHS)
def test_padding_in_a_batch_changes_nothing(length: int, variant: str) -> None:
    rows = (speech()[:length], speech()[: 8 * SAMPLE_RATE])
    (alone,), (together, _) = encode(variant, rows[0]), encode(variant, *rows)
    for ours, theirs in zip(together.layers, alone.layers, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_of_different_length_decode_as_alone() -> None:
    windows = [speech()[:length] for length in (2 * SAMPLE_RATE, 9 * SAMPLE_RATE, 4 * SAMPLE_RATE)]
    assert text("fp32", *windows) == [text("fp32", window)[0] for window in windows]


@pytest.mark.parametrize("length", [0, 1, 800, 1600])
def test_a_window_may_be_shorter_than_any_word(length: int) -> None:
    (found,) = text("int8", speech()[:length])
    assert len(found.split()) < 5


@pytest.mark.parametrize("length", [10 * SAMPLE_RATE, 30 * SAMPLE_RATE - 1, 30 * SAMPLE_RATE])
def test_the_longest_window_is_heard_to_its_end(length: int) -> None:
    fox = recording("en/quick_brown_fox")
    window = np.concatenate([speech()[: length - len(fox)], fox])
    (found,) = text("int8", window)
    assert "lazy dog" in found.lower()[-20:]


@pytest.mark.parametrize("length", [0, 1, 895, 896, 897, 16000, 16256, 16257, 480_000])
def test_every_sample_is_seen_by_a_position(length: int) -> None:
    batch = batch_of(family(), np.ones(length, np.float32))
    positions, samples = batch.log_weights.shape[1], batch.features.shape[1]
    assert samples == 384 * positions + 512
    assert batch.features.sum() == length
    assert samples - 384 < max(length, SAMPLE_RATE) <= samples


def test_rows_of_a_batch_are_the_windows_alone() -> None:
    windows = [speech()[:length] for length in (0, 1, 16_256, 16_257, 20_096, 20_097, 77_777)]
    together = batch_of(family(), *windows)
    for row, samples in enumerate(windows):
        assert same(together.row(row), batch_of(family(), samples))


def test_silence_is_encoded_without_a_division_by_zero() -> None:
    (memory,) = encode("fp32", np.zeros(SAMPLE_RATE, np.float32))
    assert all(np.isfinite(layer).all() for layer in memory.layers)


def test_loudness_does_not_matter() -> None:
    fox = recording("en/quick_brown_fox")
    quiet, loud = text("fp32", fox * 0.05, fox)
    assert "quick brown fox" in quiet.lower()
    assert "quick brown fox" in loud.lower()


@pytest.mark.parametrize(("duration_s", "limit"), [(0.1, 8), (1.0, 14), (10.0, 73), (30.0, 193), (300.0, 193)])
def test_tokens_are_limited_by_duration_and_cache(duration_s: float, limit: int) -> None:
    assert family().token_limit(duration_s) == limit


def test_is_primed_with_the_start_alone() -> None:
    options = Options(prompt="As I said", hotwords=("Wren",))
    assert family().prompt(options, task="transcribe", language="en").tokens == (1,)


def test_special_tokens_are_never_said_but_the_end() -> None:
    masked = set(np.flatnonzero(np.isneginf(family().mask)).tolist())
    assert masked == {0, 1, *range(32_000, 32_768)}


@pytest.mark.parametrize("said", ["Hello, world!", "naïve café", "10 € for 漢字 and 🎉", "  two  spaces ", "<s>"])
def test_pieces_of_a_text_are_its_bytes(said: str) -> None:
    tokenizer = family().tokenizer
    pieces = tokenizer.pieces(tokenizer.encode(said))
    assert b"".join(pieces) == f" {said}".encode()


def test_a_character_may_span_tokens() -> None:
    tokenizer = family().tokenizer
    assert tokenizer.pieces(tokenizer.encode("🎉"))[-4:] == tuple(bytes([byte]) for byte in "🎉".encode())


def test_special_tokens_have_no_bytes() -> None:
    assert family().tokenizer.pieces([1, 2, 32_000, 10**6]) == (b"", b"", b"", b"")
