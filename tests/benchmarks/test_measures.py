"""What the benchmarks count with: figures are only as good as these."""

import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest

from benchmarks.padding import padding
from benchmarks.shifts import inserted, shift
from benchmarks.speech import PACKAGED, groups, load, score, wer
from benchmarks.timing import matches, onset_s, timed
from service.recognition.families.whisper import FULL, STRIDE, TAIL, layout

ROOT = Path(__file__).parents[2]


def test_wer_is_of_all_words_together() -> None:
    one, two, *_ = load(None, [PACKAGED], languages=["en"])
    scored = [score(one, one.text), score(two, "Hello.")]
    assert [s.errors for s in scored] == [0, 1]
    assert wer(scored) == pytest.approx(100 / sum(s.words for s in scored))


def test_long_recordings_are_not_pooled_and_languages_are_listed() -> None:
    rows = groups(load(None, [PACKAGED], languages=["en", "es"]))
    assert list(rows) == ["audioeval", "audioeval es", "all en", "all es", "pooled"]
    assert len(rows["pooled"]) == len(rows["all en"]) + len(rows["all es"])


def test_words_match_where_texts_agree() -> None:
    said = timed([("THE", 0.0, 0.1), ("QUICK", 0.2, 0.3), ("BROWN", 0.3, 0.5), ("FOX", 0.5, 0.6)])
    heard = timed([(" The", 0, 1), (" very", 1, 2), (" quick", 2, 3), (" -", 3, 3), (" frown", 3, 4), (" fox.", 4, 5)])
    assert matches(said, heard) == {0: 0, 1: 2, 3: 4}
    assert matches(said, []) == {}


def test_onset_is_where_the_sound_begins() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    sound[:4_000] *= 1e-3
    assert onset_s(sound, 0.0, 1.0) == pytest.approx(0.25, abs=0.01)
    assert onset_s(sound, 0.1, 1.0) == pytest.approx(0.25, abs=0.01)


def test_shift_tells_later_words_from_earlier_ones() -> None:
    before = timed([("a", 0.0, 1.0), ("b", 1.0, 2.0), ("c", 2.0, 3.0), ("d", 3.0, 4.0), ("e", 4.0, 5.0)])
    after = timed([("a", 0.1, 1.0), ("b", 1.0, 2.0), ("c", 4.5, 5.5), ("d", 5.6, 6.5), ("x", 6.5, 7.5)])
    found = shift("", before, after, at_s=1.5, silence_s=2.5)
    assert found.off_s == pytest.approx((0.0, 0.1))
    assert found.earlier_s == pytest.approx((0.1,))
    assert found.changed == 1


def test_inserted_silence_keeps_every_sample() -> None:
    samples = np.arange(1, 101, dtype=np.float32)
    longer = inserted(samples, 40, 0.01)
    assert np.array_equal(longer[longer != 0], samples)
    assert not longer[40:200].any()


@pytest.mark.parametrize("frames", [1, 99, 1000, 2899, 2901, 2999, 3000])
def test_padding_that_is_measured_is_the_one_that_is_used(frames: int) -> None:
    for name, silence in ((f"{TAIL}/{STRIDE}", None), ("full", FULL)):
        positions, weights = layout(frames, silence)
        ours = padding(name).positions(frames)
        assert ours[0] == positions.tolist()
        assert ours[1] == pytest.approx(weights.tolist())


def test_benchmarks_are_listed() -> None:
    done = run([sys.executable, "-m", "benchmarks", "--list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in ("accuracy", "latency", "words", "memory", "hostile"))
