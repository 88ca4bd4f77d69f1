import numpy as np
import pytest

from service.audio.mel import HOP
from service.audio.types import SAMPLE_RATE
from service.backends.base import MASKED, EncoderBatch
from service.recognition.families.whisper import FULL, POSITIONS, TEXT_LIMIT, layout
from service.recognition.types import Options
from tests.recognition.models import BASE, TINY, batch_of, clips, same, whisper

FRAMES = (0, 1, 2, 3, 99, 100, 101, 400, 1000, 1777, 2800, 2897, 2898, 2899, 2900, 2901, 2998, 2999, 3000)


@pytest.mark.parametrize("frames", FRAMES)
def test_a_layout_stands_for_all_the_positions(frames: int) -> None:
    positions, log_weights = layout(frames, None)
    assert len(positions) == len(log_weights)
    assert (np.diff(positions) > 0).all()
    assert positions[0] == 0
    assert positions[-1] < POSITIONS
    np.testing.assert_allclose(np.exp(log_weights).sum(), POSITIONS, rtol=1e-5)
    assert (log_weights >= 0).all()


@pytest.mark.parametrize("frames", FRAMES)
def test_every_position_of_speech_stands_for_itself(frames: int) -> None:
    positions, log_weights = layout(frames, None)
    spoken = min(POSITIONS, -(-frames // 2))
    assert positions[:spoken].tolist() == list(range(spoken))
    assert (log_weights[:spoken] == 0).all()


@pytest.mark.parametrize("frames", FRAMES)
def test_a_full_layout_is_what_the_model_was_trained_on(frames: int) -> None:
    positions, log_weights = layout(frames, FULL)
    assert positions.tolist() == list(range(POSITIONS))
    assert (log_weights == 0).all()


def test_short_windows_cost_less() -> None:
    sizes = [len(layout(frames, None)[0]) for frames in (100, 400, 1000, 2000, 3000)]
    assert sizes == sorted(sizes)
    assert sizes[0] < POSITIONS // 4


@pytest.mark.parametrize("samples", [0, 1, 160, 400, 16_000, 30 * SAMPLE_RATE - 1, 30 * SAMPLE_RATE])
@pytest.mark.parametrize("full", [True, False])
def test_every_position_has_its_frame(samples: int, full: bool) -> None:
    batch = batch_of(whisper(), np.zeros(samples, np.float32), full=full)
    assert batch.features.shape[:2] == (1, 80)
    assert batch.features.shape[2] <= 2 * POSITIONS
    assert batch.frames.min() >= 0
    assert batch.frames.max() < -(-batch.features.shape[2] // 2)
    assert batch.positions.max() < POSITIONS


def test_rows_of_a_batch_are_the_windows_alone() -> None:
    noise = np.random.default_rng(7).normal(0, 0.1, 30 * SAMPLE_RATE).astype(np.float32)
    # Around a frame, a position, and the lengths from which the tail and the feature frames reach the end of 30 s.
    lengths = (0, 1, 160, 161, 320, 321, *(HOP * frames for frames in (2790, 2793, 2794, 2797, 2798, 2800)), len(noise))
    windows = [*clips(), *(noise[:length] for length in lengths)]
    for some in (windows, windows[::-1], clips()):
        together = batch_of(whisper(), *some)
        for row, samples in enumerate(some):
            assert same(together.row(row), batch_of(whisper(), samples))


def test_what_a_batch_has_behind_a_row_is_silence_that_counts_for_nothing() -> None:
    short, long = clips()[1], clips()[4]
    together, alone = batch_of(whisper(), short, long), whisper().features(short, full=False)
    assert (together.features[0, :, alone.values.shape[1] :] == np.float32(alone.padding)).all()
    assert (together.log_weights[0, alone.length :] == MASKED).all()


def test_a_full_row_of_a_batch_is_the_window_alone() -> None:
    rows = [whisper().features(clips()[0], full=full) for full in (False, True)]
    together = EncoderBatch.of(rows)
    for row, features in enumerate(rows):
        assert same(together.row(row), EncoderBatch.of([features]))


def test_a_window_alone_is_not_copied() -> None:
    features = whisper().features(clips()[0], full=False)
    batch = EncoderBatch.of([features])
    for array, row in ((batch.features, features.values), (batch.row(0).features, features.values)):
        assert np.shares_memory(array, row)
        assert array.flags.c_contiguous


def test_the_english_model_is_primed_without_a_language() -> None:
    prompt = whisper(TINY).prompt(Options(), task="transcribe", language="en")
    assert (prompt.tokens, prompt.start) == ((50_257, 50_362), 0)


def test_the_multilingual_model_is_primed_with_language_and_task() -> None:
    transcribe = whisper(BASE).prompt(Options(), task="transcribe", language="de")
    translate = whisper(BASE).prompt(Options(), task="translate", language="fr")
    assert transcribe.tokens == (50_258, 50_261, 50_359, 50_363)
    assert translate.tokens == (50_258, 50_265, 50_358, 50_363)


def test_what_was_said_before_goes_before_the_start() -> None:
    family = whisper(BASE)
    options = Options(prompt=" As I said,", hotwords=("Wren", "ASR"))
    prompt = family.prompt(options, task="transcribe", language="en")
    assert prompt.tokens[0] == 50_361
    assert prompt.tokens[prompt.start] == 50_258
    text = b"".join(family.tokenizer.pieces(prompt.tokens[1 : prompt.start]))
    assert text == b" Wren ASR As I said,"


@pytest.mark.parametrize("options", [Options(prompt="  "), Options(hotwords=("",))])
def test_blank_context_is_none(options: Options) -> None:
    assert whisper(TINY).prompt(options, task="transcribe", language="en").start == 0


@pytest.mark.parametrize("model", [TINY, BASE])
def test_a_long_context_keeps_its_tail_and_leaves_room_for_the_longest_text(model: str) -> None:
    family = whisper(model)
    options = Options(prompt=" ".join(f"number {count}" for count in range(500)))
    prompt = family.prompt(options, task="transcribe", language="en")
    assert b"".join(family.tokenizer.pieces(prompt.tokens[1 : prompt.start])).endswith(b" number 499")
    assert 200 < prompt.start <= TEXT_LIMIT
    assert len(prompt.tokens) + family.token_limit(30.0) - 1 <= 448


def test_more_audio_may_have_more_tokens() -> None:
    limits = [whisper().token_limit(duration_s) for duration_s in (0.0, 0.5, 2.0, 10.0, 30.0, 3000.0)]
    assert limits == sorted(limits)
    assert limits[0] > 0
    assert limits[-1] == limits[-2] == TEXT_LIMIT


@pytest.mark.parametrize("model", [TINY, BASE])
def test_control_tokens_are_never_said_but_the_end(model: str) -> None:
    family = whisper(model)
    allowed = np.flatnonzero(np.isfinite(family.mask))
    assert allowed.max() == family.end_token
    first = np.flatnonzero(np.isfinite(family.first_mask))
    assert set(first) < set(allowed)
    assert family.end_token not in first


def test_languages_are_those_of_the_model() -> None:
    assert whisper(TINY).languages == ("en",)
    assert whisper(BASE).languages[:4] == ("en", "zh", "de", "es")
    assert len(whisper(BASE).languages) == 99
