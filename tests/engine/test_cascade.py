"""Which windows are heard again, and whose text is taken."""

import math

import pytest

from service.engine.cascade import AS_SURE, SLOWER, SURE, Tally, again, better, confidence, doubt
from service.engine.engine import LocalEngine
from service.recognition.types import Segment, Token
from service.settings import Settings
from tests.audio.speech import recording
from tests.engine.recordings import TINY, request, text_of
from tests.store import STORE

LOOP = " a loop" * 40


def segment(text: str, *probabilities: float) -> Segment:
    """Words of these probabilities, a token each; the last one's text is all that is left."""
    pieces = text.split(" ", len(probabilities))[1:]
    tokens = tuple(Token(0, f" {p}".encode(), math.log(sure)) for p, sure in zip(pieces, probabilities, strict=True))
    logprobs = [token.logprob for token in tokens]
    return Segment(0.0, 1.0, text, tokens, 0.0, sum(logprobs) / len(logprobs), 1.0, 0.0)


SURELY = [segment(" well said", 0.99, 0.95)]
HARDLY = [segment(" whale sad", 0.7, 0.5)]
SO_SO = [segment(" well sad", 0.7, 0.5)]
NOTHING: list[Segment] = []
ENDLESSLY = [segment(LOOP, 0.99)]


@pytest.mark.parametrize("segments", [SURELY, NOTHING])
def test_what_is_sure_or_silent_is_believed(segments: list[Segment]) -> None:
    assert doubt(segments) is None
    assert not again(segments, duration_s=5.0, speed=10.0, left_s=math.inf).yes


@pytest.mark.parametrize(
    ("segments", "reason"), [(HARDLY, "confidence 0.59 is under 0.8"), (ENDLESSLY, "repeats itself")]
)
def test_what_is_unsure_or_loops_is_heard_again_with_the_reason(segments: list[Segment], reason: str) -> None:
    decision = again(segments, duration_s=5.0, speed=10.0, left_s=math.inf)
    assert decision.yes
    assert reason in decision.reason


def test_confidence_does_not_depend_on_how_a_window_is_split() -> None:
    parts = [segment(" one two", 0.9, 0.4), segment(" three", 0.6)]
    assert confidence(parts) == pytest.approx(confidence([segment(" one two three", 0.9, 0.4, 0.6)]))
    assert confidence(parts) == pytest.approx((0.9 * 0.4 * 0.6) ** (1 / 3))


@pytest.mark.parametrize(("sure", "doubtful"), [(SURE - 1e-6, True), (SURE + 1e-6, False)])
def test_the_bound_parts_the_sure_from_the_unsure(sure: float, *, doubtful: bool) -> None:
    assert (doubt([segment(" word", sure)]) is not None) == doubtful


@pytest.mark.parametrize(("left_s", "yes"), [(SLOWER * 0.5 + 1e-6, True), (SLOWER * 0.5 - 1e-6, False), (-1.0, False)])
def test_nothing_is_heard_again_without_the_time_for_it(left_s: float, *, yes: bool) -> None:
    decision = again(HARDLY, duration_s=5.0, speed=10.0, left_s=left_s)
    assert decision.yes == yes
    assert "confidence" in decision.reason
    assert yes or "s are left" in decision.reason


@pytest.mark.parametrize(("second", "taken"), [(0.8 * AS_SURE + 1e-6, True), (0.8 * AS_SURE - 1e-6, False)])
def test_a_larger_model_may_be_a_little_less_sure(second: float, *, taken: bool) -> None:
    assert better([segment(" word", 0.8)], [segment(" ward", second)]).yes == taken


@pytest.mark.parametrize("second", [NOTHING, ENDLESSLY])
def test_a_text_is_not_given_up_for_silence_or_a_loop(second: list[Segment]) -> None:
    assert not better(HARDLY, second).yes
    assert not better(ENDLESSLY, second).yes


def test_a_loop_is_given_up_for_any_text() -> None:
    assert better(ENDLESSLY, SO_SO).yes


def test_what_was_heard_again_is_told() -> None:
    assert Tally(9, 2, 1).told("whisper-base:int8") == "2 of 9 windows again by whisper-base:int8, 1 taken"


@pytest.mark.anyio
async def test_the_engine_lets_the_larger_model_hear_what_the_served_one_doubts() -> None:
    counting = recording("en/counting")
    settings = Settings(
        store=STORE, model=f"{TINY}:int8", cascade="whisper-base:int8", threads=1, profile_s=0, latency=60_000
    )
    engine = LocalEngine(settings)
    await engine.start()
    try:
        served = await engine.transcribe(request(counting))
        large = await text_of(engine, counting, model="whisper-base:int8")
        obeyed = await engine.transcribe(request(counting, model=f"{TINY}:int8"))
    finally:
        await engine.close()
    assert served.transcript.text == large != obeyed.transcript.text
    assert served.reason.endswith("1 of 1 windows again by whisper-base:int8, 1 taken")
    assert (served.cascaded, obeyed.cascaded) == (1, 0)
    assert served.manifest.name == obeyed.manifest.name == f"{TINY}:int8"
