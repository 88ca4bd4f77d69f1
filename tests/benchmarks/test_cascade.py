"""What the benchmark of the cascade counts with."""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cascade import Rule, alone, cascaded, grouped, row
from benchmarks.outcomes import Listener, Outcome
from benchmarks.speech import PACKAGED, Utterance, load
from service.recognition.types import Segment, Token
from tests.store import STORE

TINY = "whisper-tiny.en:int8"

BYTE = b"\xe2"
"""A token may be a part of a character."""


@pytest.fixture(scope="module")
def spoken() -> Utterance:
    return load(None, [PACKAGED], languages=["en"])[0]


def outcome(text: str, sure: float, seconds: float) -> Outcome:
    token = Token(7, text.encode() + BYTE, math.log(sure))
    segment = Segment(0.0, 1.0, text, (token,), 0.0, token.logprob, 1.0, 0.0)
    return Outcome(audio="one", duration_s=1.0, seconds=seconds, segments=(segment,))


def test_a_rule_takes_time_of_the_larger_model_for_what_it_heard_again(spoken: Utterance) -> None:
    small = [outcome(" a", 0.5, 1.0), outcome(" b", 0.9, 1.0), outcome(" c", 0.5, 1.0)]
    large = [outcome(" A", 0.9, 5.0), outcome(" B", 0.9, 5.0), outcome(" C", 0.3, 5.0)]
    found = cascaded(spoken, small, large, Rule("", 0.8))
    assert found.scored.hypothesis == " A b c"
    assert (found.windows, found.again, found.taken, found.seconds) == (3, 2, 1, 13.0)
    none = cascaded(spoken, small, large, Rule("", 0.0))
    assert (none.scored.hypothesis, none.again, none.seconds) == (" a b c", 0, 3.0)
    largest = alone(spoken, large)
    assert (largest.scored.hypothesis, largest.seconds) == (" A B C", 15.0)
    figures = row([found], [none], [largest])
    assert figures["x small's time"] == pytest.approx(13 / 3)
    assert figures["again, %"] == pytest.approx(200 / 3)


def test_outcomes_are_read_as_they_were_kept() -> None:
    one = outcome(" half a character", 0.5, 1.0)
    assert Outcome.model_validate_json(one.model_dump_json()) == one


def test_what_was_heard_is_kept(tmp_path: Path, spoken: Utterance) -> None:
    listener = Listener(argparse.Namespace(store=STORE, threads=1), [spoken], tmp_path)
    first = listener.outcomes([TINY], target_s=9.0)[TINY][spoken.name]
    (kept,) = tmp_path.iterdir()
    assert first == [Outcome.model_validate_json(line) for line in kept.read_bytes().splitlines()]
    told = outcome(" told", 0.5, 1.0).model_copy(update={"audio": spoken.name})
    kept.write_text(told.model_dump_json())
    assert listener.outcomes([TINY], target_s=9.0)[TINY][spoken.name] == [told]


def test_sets_that_are_judged_stand_apart(spoken: Utterance) -> None:
    assert list(grouped([spoken])) == ["all"]
    assert list(grouped([spoken, replace(spoken, set_name="ljspeech")])) == ["pooled", "harder", "all"]
