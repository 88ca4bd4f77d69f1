from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import onnxruntime as ort
import pytest

from service.audio.checkpoint import Abandoned
from service.audio.pauses import FRAME, levels
from service.audio.types import SAMPLE_RATE, Samples, Span, VadOptions
from service.audio.vad import BLOCK, CHUNK, CONTEXT, SpeechDetector, padded, speech_spans
from tests.audio.speech import CLIPS, NO_SPEECH, detector, model, recording, talk

DEFAULT = VadOptions()


def walked(samples: Samples) -> Samples:
    """The original graph, one chunk a run."""
    session = ort.InferenceSession(model("original"), providers=["CPUExecutionProvider"])
    hidden = cell = np.zeros((1, 1, 128), np.float32)
    chunks = -(-len(samples) // CHUNK)
    line = np.pad(samples, (CONTEXT, chunks * CHUNK - len(samples)))
    answers = []
    for start in range(0, chunks * CHUNK, CHUNK):
        row = line[start : start + CONTEXT + CHUNK][None]
        answer, hidden, cell = session.run(None, {"input": row, "h": hidden, "c": cell})
        answers.append(answer[0])
    return np.array(answers, np.float32)


@pytest.mark.parametrize("variant", ["original", "fp32"])
@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, BLOCK * CHUNK, BLOCK * CHUNK + 1])
def test_answers_as_the_original_does_chunk_by_chunk(variant: str, length: int) -> None:
    samples = talk()[:length]
    answers = detector(variant).chunk_probabilities(samples)
    np.testing.assert_allclose(answers, walked(samples), rtol=0, atol=1e-4)


@pytest.mark.parametrize("length", [0, 1, FRAME, FRAME + 1, CHUNK - 1, CHUNK + 1, SAMPLE_RATE + 7])
def test_gives_a_probability_each_10_ms(length: int) -> None:
    samples = talk()[:length]
    probabilities = detector().probabilities(samples, levels(samples))
    assert len(probabilities) == -(-length // FRAME)
    assert np.all((probabilities >= 0) & (probabilities <= 1))


def test_hears_as_one_unbroken_walk_does() -> None:
    samples = talk()
    apart = detector().probabilities(samples, levels(samples))
    together = np.repeat(detector().chunk_probabilities(samples), CHUNK // 32)[2::5][: len(apart)]
    assert np.mean((apart > 0.5) != (together > 0.5)) < 0.03


@pytest.mark.parametrize("loudness", [0.001, 0.1, 0.5])
@pytest.mark.parametrize("name", NO_SPEECH)
def test_what_is_no_speech_gives_no_span(name: str, loudness: float) -> None:
    assert detector().spans(NO_SPEECH[name]() * np.float32(loudness), DEFAULT) == ()


@pytest.mark.parametrize("name", CLIPS)
def test_loud_parts_of_speech_are_kept(name: str) -> None:
    samples = recording(name)
    level = levels(samples)
    loud = level > np.percentile(level, 95) * 10**-2.5
    kept = np.zeros(len(level), bool)
    for span in detector().spans(samples, DEFAULT):
        kept[span.start // FRAME : -(-span.end // FRAME)] = True
    assert np.mean(kept[loud]) > 0.99


@pytest.mark.parametrize("start_s", [0.52, 1.0, 1.9])
def test_a_word_of_300_ms_alone_is_not_lost(start_s: float) -> None:
    start = int(start_s * SAMPLE_RATE)
    word = recording("en/counting")[start : start + 3 * SAMPLE_RATE // 10]
    assert detector().spans(word, DEFAULT)


def test_detection_that_is_abandoned_stops_at_the_next_run() -> None:
    passed = 0

    def checkpoint() -> None:
        nonlocal passed
        passed += 1
        if passed == 3:
            raise Abandoned

    with pytest.raises(Abandoned):
        detector().spans(talk(), DEFAULT, checkpoint=checkpoint)
    assert passed == 3


def test_a_checkpoint_is_passed_every_16_seconds() -> None:
    passed: list[None] = []
    detector().spans(np.zeros(100 * SAMPLE_RATE, np.float32), DEFAULT, checkpoint=lambda: passed.append(None))
    assert len(passed) >= 100 / 16


def test_no_samples_have_no_speech() -> None:
    assert detector().spans(np.zeros(0, np.float32), DEFAULT) == ()


def test_detection_that_is_off_keeps_all() -> None:
    samples = np.zeros(1000, np.float32)
    assert detector().spans(samples, VadOptions(enabled=False)) == (Span(0, 1000),)


@pytest.mark.parametrize("silence_s", [0.5, 1.0, 2.37, 7.24])
def test_silence_before_a_recording_moves_its_spans_by_as_much(silence_s: float) -> None:
    silence = round(silence_s * SAMPLE_RATE)
    before = detector().spans(talk(), DEFAULT)
    after = detector().spans(np.concatenate([np.zeros(silence, np.float32), talk()]), DEFAULT)
    assert moved(after[1:], -silence) == before[1:]
    assert after[0].end - silence == before[0].end


@pytest.mark.parametrize("silence_s", [0.5, 2.5, 7.24])
def test_silence_in_a_pause_moves_later_spans_by_as_much(silence_s: float) -> None:
    silence = round(silence_s * SAMPLE_RATE)
    spans = detector().spans(talk(), DEFAULT)
    gaps = [(left, right) for left, right in pairwise(spans) if right.start - left.end > SAMPLE_RATE // 2]
    assert len(gaps) > 8
    for left, right in gaps:
        cut = (left.end + right.start) // 2
        longer = np.concatenate([talk()[:cut], np.zeros(silence, np.float32), talk()[cut:]])
        later = tuple(span for span in detector().spans(longer, DEFAULT) if span.start > cut)
        expected = tuple(span for span in spans if span.start > cut)
        for span, was in zip(moved(later, -silence), expected, strict=True):
            assert abs(span.start - was.start) <= 0.02 * SAMPLE_RATE
            assert abs(span.end - was.end) <= 0.02 * SAMPLE_RATE


def moved(spans: tuple[Span, ...], by: int) -> tuple[Span, ...]:
    return tuple(Span(span.start + by, span.end + by, span.lead) for span in spans)


def test_threads_share_a_detector() -> None:
    shared = SpeechDetector(model("fp32"), threads=2)
    samples = [recording(name) for name in CLIPS]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda clip: shared.spans(clip, DEFAULT), samples))
    assert together == [detector().spans(clip, DEFAULT) for clip in samples]


def probabilities(*runs: tuple[float, int]) -> Samples:
    """Each run: a probability, and for how many milliseconds."""
    return np.concatenate([np.full(duration_ms // 10, value, np.float32) for value, duration_ms in runs])


def found(*runs: tuple[float, int], options: VadOptions = DEFAULT) -> list[tuple[int, int]]:
    """Spans in milliseconds."""
    track = probabilities(*runs)
    spans = speech_spans(track, len(track) * FRAME, options)
    return [(span.start // 16, span.end // 16) for span in spans]


def test_speech_goes_on_until_the_probability_falls_below_the_lower_threshold() -> None:
    assert found((0.0, 200), (0.6, 200), (0.4, 300), (0.3, 1000)) == [(200, 700)]


def test_speech_does_not_begin_at_the_lower_threshold() -> None:
    assert found((0.4, 500), (0.0, 500)) == []


def test_a_pause_shorter_than_the_silence_duration_does_not_part_spans() -> None:
    assert found((0.9, 300), (0.0, 490), (0.9, 300)) == [(0, 1090)]
    assert found((0.9, 300), (0.0, 500), (0.9, 300)) == [(0, 300), (800, 1100)]
    short = VadOptions(silence_duration_ms=100)
    assert found((0.9, 300), (0.0, 100), (0.9, 300), options=short) == [(0, 300), (400, 700)]


def test_speech_under_90_ms_is_dropped() -> None:
    assert found((0.0, 500), (0.9, 80), (0.0, 500)) == []
    assert found((0.0, 500), (0.9, 90), (0.0, 500)) == [(500, 590)]


def test_the_threshold_is_the_callers() -> None:
    assert found((0.6, 500), options=VadOptions(threshold=0.7)) == []
    assert found((0.3, 500), options=VadOptions(threshold=0.2)) == [(0, 500)]


def test_speech_ends_with_the_recording() -> None:
    assert speech_spans(probabilities((0.9, 100)), 1599, DEFAULT) == (Span(0, 1599),)


def test_no_probabilities_give_no_span() -> None:
    assert speech_spans(np.zeros(0, np.float32), 0, DEFAULT) == ()


def test_padding_stops_at_the_ends_of_the_recording() -> None:
    assert padded((Span(1600, 3200),), 4000, padding=1600) == (Span(0, 4000, lead=1600),)


def test_padding_of_neighbours_meets_in_the_middle() -> None:
    spans = (Span(16_000, 32_000), Span(38_400, 48_000))
    assert padded(spans, 80_000, padding=4800) == (Span(11_200, 35_200, lead=4800), Span(35_200, 52_800, lead=3200))


@pytest.mark.parametrize(("start", "expected"), [(0, 0), (160, 160), (320, 0), (4640, 160), (4800, 0), (4960, 160)])
def test_speech_near_the_beginning_keeps_its_place_on_the_grid_of_20_ms(start: int, expected: int) -> None:
    (span,) = padded((Span(start, 16_000),), 16_000, padding=4800)
    assert span.start == expected


LENGTHS = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * SAMPLE_RATE + 7)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("split", [1, 7, CHUNK - 1, CHUNK, CHUNK + 1, SAMPLE_RATE, 10 * SAMPLE_RATE])
def test_a_walk_hears_the_same_however_the_stream_was_split(length: int, split: int) -> None:
    samples = talk()[:length]
    walk = detector().walk()
    heard = [answer for start in range(0, length, split) for answer in walk.push(samples[start : start + split])]
    rest = walk.rest()
    assert (rest is not None) == bool(length % CHUNK)
    if rest is not None:
        assert rest[1] == length % CHUNK
        heard.append(rest[0])
    expected = detector().chunk_probabilities(samples)
    np.testing.assert_allclose(np.array(heard, np.float32), expected, rtol=0, atol=1e-6)
    assert walk.rest() is None


def test_a_walk_goes_on_behind_its_rest() -> None:
    """The next chunk begins there, with what was before as its context."""
    samples, at = talk()[: 4 * SAMPLE_RATE], 30 * CHUNK + 100
    walk = detector().walk()
    assert len(list(walk.push(samples[:at]))) == 30
    assert walk.rest() is not None
    behind = list(walk.push(samples[at:]))
    assert len(behind) == (len(samples) - at) // CHUNK
    np.testing.assert_array_equal(walk._row[0, :CONTEXT], samples[at : at + len(behind) * CHUNK][-CONTEXT:])
    unbroken = detector().chunk_probabilities(samples)
    assert np.mean((np.array(behind) > 0.5) != (unbroken[30 : 30 + len(behind)] > 0.5)) < 0.1


def test_walks_are_apart() -> None:
    first, second = detector().walk(), detector().walk()
    samples = talk()[: 2 * SAMPLE_RATE]
    pairs = [(list(first.push(part)), list(second.push(part))) for part in np.split(samples, 20)]
    assert [a for a, _ in pairs] == [b for _, b in pairs]
