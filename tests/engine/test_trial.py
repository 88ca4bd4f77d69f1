import pytest

from service.audio.decode import decode
from service.audio.resample import Limits
from service.audio.types import SAMPLE_RATE
from service.engine.plan import UTTERANCE_S
from service.engine.trial import spoken
from service.engine.types import Request
from tests.engine.recordings import engine_of


@pytest.mark.parametrize(("times", "seconds"), [(1, 2.0), (2, UTTERANCE_S), (10, 30.0)])
def test_the_sentence_is_spoken_for_so_long(times: int, seconds: float) -> None:
    assert len(decode(spoken(times, seconds=seconds), limits=Limits(60)).samples) == seconds * SAMPLE_RATE


@pytest.mark.anyio
async def test_it_is_speech_that_is_recognised() -> None:
    async with engine_of() as engine:
        served = await engine.transcribe(Request(spoken(2, seconds=UTTERANCE_S)))
    assert "fox jumps over the lazy dog" in served.transcript.text.lower()
