import asyncio
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.audio.types import SAMPLE_RATE, VadOptions
from service.engine.engine import LocalEngine
from service.engine.types import Request, Served
from service.errors import DeadlineExceeded, EmptyAudio, ModelNotFound, ModelUnavailable, OptionError, UndecodableAudio
from service.recognition.recognizer import GROUP
from service.recognition.types import Options, Segment
from service.settings import Settings
from tests.audio.speech import NO_SPEECH, recording
from tests.engine.recordings import TINY, engine_of, request, silence, talk, text_of, wav, words_of
from tests.engine.stores import cut, linked_store

pytestmark = pytest.mark.anyio

BASE = "whisper-base:int8"
SILERO = "silero-vad/fp32"


async def test_a_recording_becomes_its_text() -> None:
    async with engine_of() as engine:
        served = await engine.transcribe(request(*talk()))
    transcript = served.transcript
    assert transcript.text.lower().count("the quick brown fox jumps over the lazy dog") == 2
    assert transcript.text == "".join(segment.text for segment in transcript.segments).strip()
    assert transcript.duration_s == pytest.approx(sum(map(len, talk())) / SAMPLE_RATE)
    assert [(language.code, language.probability) for language in transcript.languages] == [("en", 1.0)]
    assert served.manifest.name == f"{TINY}:int8"
    assert list(served.stage_ms) == ["decode", "vad", "queue", "encode", "decode_text"]
    assert all(stage_ms >= 0 for stage_ms in served.stage_ms.values())


async def test_a_stream_is_the_segments_and_then_the_whole() -> None:
    async with engine_of() as engine:
        items = [item async for item in engine.stream(request(*talk(), options=Options(word_times=True)))]
    *segments, last = items
    assert isinstance(last, Served)
    assert len(segments) >= 3
    assert all(isinstance(segment, Segment) for segment in segments)
    assert last.transcript.segments == tuple(segments)


async def test_a_file_is_read_as_its_bytes_are(tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(wav(talk()[0]))
    async with engine_of() as engine:
        from_file = await engine.transcribe(Request(tmp_path / "talk.wav"))
        assert from_file.transcript.text == await text_of(engine, talk()[0])


@pytest.mark.parametrize("sound", ["silence", "white noise", "hum of 50 Hz", "clicks"])
async def test_what_is_no_speech_has_no_text(sound: str) -> None:
    async with engine_of() as engine:
        transcript = (await engine.transcribe(request(NO_SPEECH[sound]()))).transcript
    assert (transcript.text, transcript.segments) == ("", ())
    assert transcript.duration_s == 4.0
    assert transcript.languages[0].code == "en"


async def test_without_speech_detection_all_is_recognised() -> None:
    async with engine_of() as engine:
        served = await engine.transcribe(request(talk()[0], silence(2), vad=VadOptions(enabled=False)))
    assert "lazy dog" in served.transcript.text


async def test_company_does_not_change_the_text() -> None:
    samples = [*talk(), np.concatenate(talk()), np.concatenate([talk()[1], silence(3), talk()[0]]), silence(1)]
    async with engine_of() as engine:
        alone = [await text_of(engine, one) for one in samples]
        together = await asyncio.gather(*(text_of(engine, one) for one in samples * 2))
    assert together == alone * 2


async def test_two_models_serve_at_once() -> None:
    spanish, fox = recording("es/conteo"), talk()[0]
    async with engine_of() as engine:
        requests = [text_of(engine, fox, model=f"{TINY}:fp32"), text_of(engine, spanish, model=BASE)] * 2
        found = await asyncio.gather(*requests, text_of(engine, fox))
        states = {info.manifest.name: info.state for info in engine.models()}
    assert found[0] == found[2]
    assert "lazy dog" in found[0]
    assert "lazy dog" in found[4]
    assert found[1] == found[3]
    assert found[1].startswith("1, 2, 3, 4, 5")
    assert {states[name] for name in (f"{TINY}:fp32", f"{TINY}:int8", BASE)} == {"loaded"}
    assert states["whisper-base:fp32"] == "available"


async def test_models_are_those_that_write_text() -> None:
    async with engine_of() as engine:
        infos = engine.models()
    assert not any(info.manifest.model == "silero-vad" for info in infos)
    for model in {info.manifest.model for info in infos}:
        assert sum(info.default for info in infos if info.manifest.model == model) == 1


@pytest.mark.parametrize("after", [0, 1, 3, 10, 50])
async def test_who_leaves_does_the_others_no_harm(after: int) -> None:
    async with engine_of() as engine:
        alone = await text_of(engine, *talk())
        tasks = [asyncio.create_task(text_of(engine, *talk())) for _ in range(6)]
        for _ in range(after):
            await asyncio.sleep(0.002)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert await text_of(engine, *talk()) == alone
    assert found[1::2] == [alone] * 3
    assert all(isinstance(one, asyncio.CancelledError) or one == alone for one in found)


async def test_a_stream_may_be_left_in_the_middle() -> None:
    async with engine_of() as engine:
        stream = engine.stream(request(*talk(), options=Options(word_times=True)))
        first = await anext(stream)
        assert isinstance(first, Segment)
        await stream.aclose()
        assert "lazy dog" in await text_of(engine, talk()[0])


async def test_a_short_recording_overtakes_a_long_one() -> None:
    """The long one holds more windows than are decoded at a time."""
    long = np.tile(np.concatenate(talk()), 1 + GROUP * 30 * SAMPLE_RATE // sum(map(len, talk())))
    async with engine_of() as engine:
        ends: list[str] = []

        async def ended(name: str, *samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
            await text_of(engine, *samples)
            ends.append(name)

        begun = asyncio.create_task(ended("long", long))
        await asyncio.sleep(0.05)
        await asyncio.gather(begun, ended("short", talk()[1]))
    assert ends == ["short", "long"]


async def test_the_event_loop_goes_on() -> None:
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - before)

    asked = request(*talk(), *talk())
    async with engine_of() as engine:
        ticking = asyncio.create_task(tick())
        started = time.perf_counter()
        await asyncio.gather(*(engine.transcribe(asked) for _ in range(3)))
        spent = time.perf_counter() - started
        ticking.cancel()
    assert max(gaps) < 0.25
    assert len(gaps) > spent / 0.1


INSERTED_S = (0.5, 3.77, 25.0)
FOX_WORDS = 9
"""Of the first sentence and of the last."""


@pytest.mark.parametrize(("behind", "variant"), [(1, "fp32"), (1, "int8"), (2, "int8"), (3, "fp32"), (3, "int8")])
async def test_inserted_silence_moves_the_later_words_by_its_length(behind: int, variant: str) -> None:
    before, after = talk()[:behind], talk()[behind:]
    async with engine_of() as engine:
        plain = await words_of(engine, *talk(), model=f"{TINY}:{variant}")
        for length_s in INSERTED_S:
            moved = await words_of(engine, *before, silence(length_s), *after, model=f"{TINY}:{variant}")
            assert [word.text for word in moved] == [word.text for word in plain]
            shifts = [new.start_s - old.start_s for old, new in zip(plain, moved, strict=True)]
            later = next(index for index, shift_s in enumerate(shifts) if shift_s > length_s / 2)
            assert FOX_WORDS <= later <= len(plain) - FOX_WORDS
            np.testing.assert_allclose(shifts[:later], 0, atol=0.02)
            np.testing.assert_allclose(shifts[later:], length_s, atol=0.02)


async def test_word_times_are_in_order_and_inside_the_speech() -> None:
    async with engine_of() as engine:
        words = await words_of(engine, *talk())
    times = [time_s for word in words for time_s in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= sum(map(len, talk())) / SAMPLE_RATE


async def test_a_deadline_counts_while_the_model_is_loaded() -> None:
    async with engine_of() as engine:
        with pytest.raises(DeadlineExceeded):
            await engine.transcribe(replace(request(talk()[1], model=f"{TINY}:fp32"), deadline_s=0.001))
        assert "hello" in (await text_of(engine, talk()[1], model=f"{TINY}:fp32")).lower()


@pytest.mark.parametrize("name", ["whisper-huge", f"{TINY}:int3", "silero-vad"])
async def test_an_unknown_model_is_not_found(name: str) -> None:
    async with engine_of() as engine:
        with pytest.raises(ModelNotFound, match=f"There is no model '{name}' here"):
            await text_of(engine, talk()[1], model=name)
        assert await text_of(engine, talk()[1])


async def test_an_unknown_language_is_an_option_error() -> None:
    async with engine_of() as engine:
        with pytest.raises(OptionError, match="does not know the language 'tlh'"):
            await engine.transcribe(request(talk()[1], options=Options(language="tlh")))


async def test_audio_that_cannot_be_used_is_said_to_be_so() -> None:
    async with engine_of() as engine:
        with pytest.raises(EmptyAudio):
            await engine.transcribe(Request(b""))
        with pytest.raises(UndecodableAudio):
            await engine.transcribe(Request(b"no audio at all " * 99))
        assert await text_of(engine, talk()[1])


async def test_a_damaged_variant_is_unavailable_and_the_others_serve(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8", f"{TINY}/fp32", SILERO)
    cut(store / TINY / "fp32" / "decoder.onnx")
    async with engine_of(store) as engine:
        alone = await text_of(engine, talk()[0])
        found = await asyncio.gather(
            text_of(engine, talk()[0], model=f"{TINY}:fp32"), text_of(engine, talk()[0]), return_exceptions=True
        )
        assert isinstance(found[0], ModelUnavailable)
        assert found[1] == alone
        assert await text_of(engine, talk()[0]) == alone


async def test_a_damaged_default_stops_the_start(tmp_path: Path) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8", SILERO)
    cut(store / TINY / "int8" / "encoder.onnx")
    with pytest.raises(ModelUnavailable, match=TINY):
        async with engine_of(store):
            pass


async def test_a_store_without_the_model_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="Available: none"):
        async with engine_of(linked_store(tmp_path, SILERO)):
            pass


@pytest.mark.parametrize("fault", ["missing", "no manifest", "cut"])
async def test_a_store_without_a_speech_detector_stops_the_start(tmp_path: Path, fault: str) -> None:
    store = linked_store(tmp_path, f"{TINY}/int8", *([] if fault == "missing" else [SILERO]))
    if fault == "no manifest":
        cut(store / SILERO / "manifest.json")
    if fault == "cut":
        cut(store / SILERO / "vad.onnx")
    with pytest.raises(ModelUnavailable, match="silero-vad"):
        async with engine_of(store):
            pass


async def test_a_start_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    store = linked_store(tmp_path, SILERO)
    engine = LocalEngine(Settings(store=store, model=TINY, threads=1, profile_s=0))
    for _ in range(2):
        with pytest.raises(ModelNotFound):
            await engine.start()
    linked_store(store, f"{TINY}/int8")
    await engine.start()
    assert "lazy dog" in await text_of(engine, talk()[0])
    await engine.close()


async def test_closing_ends_what_waits() -> None:
    async with engine_of() as engine:
        tasks = [asyncio.create_task(text_of(engine, *talk())) for _ in range(5)]
        await asyncio.sleep(0.02)
    found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert all(isinstance(one, str | asyncio.CancelledError | RuntimeError) for one in found)


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
async def test_memory_stays_flat_over_many_requests() -> None:
    rng = np.random.default_rng(1)
    whole = np.concatenate(talk())
    async with engine_of() as engine:
        sizes = []
        for _ in range(50):
            first = int(rng.integers(0, len(whole) // 2))
            await text_of(engine, whole[first : first + int(rng.integers(1000, 3 * SAMPLE_RATE))])
            sizes.append(resident_mib())
    assert min(sizes[-10:]) - max(sizes[:25]) < 15, "a peak passes, what leaks stays"
