"""Which stretches of a corpus are heard."""

from collections import Counter

import pytest

from model_store.train.corpus import Recording
from model_store.train.cuts import cuts
from service.audio.types import SAMPLE_RATE

LONG = Recording("long", 0, 600 * SAMPLE_RATE, "en", "")
SHORT = Recording("short", LONG.samples, 2 * SAMPLE_RATE, "en", "")


def test_cuts_lie_within_their_recordings_and_are_of_all_lengths() -> None:
    found = cuts([LONG, SHORT], 2000, 1)
    for cut in found:
        recording = (LONG, SHORT)[cut.recording]
        assert 0 <= cut.first <= cut.first + cut.samples <= recording.samples
        assert 0.19 * SAMPLE_RATE < cut.samples <= 30 * SAMPLE_RATE
    seconds = sorted(cut.samples / SAMPLE_RATE for cut in found)
    assert seconds[200] < 1 < seconds[1000] < 9.5 < seconds[-200]


def test_some_have_no_speech() -> None:
    kinds = Counter(cut.kind for cut in cuts([LONG], 2000, 1))
    assert kinds["silence"] == pytest.approx(100, abs=30)
    assert kinds["noise"] == pytest.approx(100, abs=30)


def test_recordings_are_heard_by_their_lengths() -> None:
    counted = Counter(cut.recording for cut in cuts([LONG, SHORT], 2000, 1))
    assert counted[1] == pytest.approx(2000 * 2 / 602, abs=12)


def test_a_seed_gives_the_same_cuts() -> None:
    assert cuts([LONG], 50, 7) == cuts([LONG], 50, 7)
    assert cuts([LONG], 50, 7) != cuts([LONG], 50, 8)
