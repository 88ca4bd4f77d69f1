"""The engine with real variants, switched, broken and let go while it serves."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from service.audio.types import Samples
from service.engine.engine import LocalEngine
from service.engine.precision import Orders
from service.engine.types import ModelInfo, Request, Served
from service.errors import ModelUnavailable, NoRoom, OptionError
from service.settings import Settings
from tests.engine.hosting import eventually
from tests.engine.recordings import TINY, engine_of, request, talk, text_of
from tests.engine.stores import cut, deafen, linked_store

pytestmark = pytest.mark.anyio

FP32, INT8 = f"{TINY}:fp32", f"{TINY}:int8"
SILERO = "silero-vad/fp32"


@asynccontextmanager
async def ladder_of(store: Path, *rungs: str, memory: int | None = None) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(
        Settings(store=store, model=TINY, ladder=rungs or ("fp32", "int8"), threads=1, profile_s=0, memory=memory)
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def clips() -> Sequence[Samples]:
    return (talk()[1], talk()[0], talk()[2])


def info(engine: LocalEngine, name: str) -> ModelInfo:
    return next(one for one in engine.models() if one.manifest.name == name)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return linked_store(tmp_path / "store", SILERO, f"{TINY}/fp32", f"{TINY}/int8")


async def test_switches_under_load_change_no_text_and_lose_no_request(store: Path) -> None:
    async with ladder_of(store) as engine:
        alone = {
            (name, index): await text_of(engine, clip, model=name)
            for name in (FP32, INT8)
            for index, clip in enumerate(clips())
        }
        answers: list[tuple[int, Served]] = []

        async def client(number: int) -> None:
            for turn in range(8):
                index = (number + turn) % len(clips())
                answers.append((index, await engine.transcribe(request(clips()[index]))))

        async def operator() -> None:
            for pin in ("int8", "fp32") * 4:
                enough = len(answers) + 3
                await eventually(lambda enough=enough: len(answers) >= min(enough, 30))
                report = await engine.order(TINY, Orders(pin=pin))
                assert report.models[0].serving == f"{TINY}:{pin}"
                if pin == "int8":
                    await engine.unload_model(FP32)

        await asyncio.gather(operator(), *map(client, range(4)))
        switches = [event for event in engine.precision().events if event.kind == "switched"]
    assert len(answers) == 32
    assert {served.manifest.name for _, served in answers} == {FP32, INT8}
    assert [served.transcript.text for _, served in answers] == [
        alone[served.manifest.name, index] for index, served in answers
    ]
    assert len(switches) == 8
    assert all(event.took_s > 0 and event.previous for event in switches)


async def test_who_waits_goes_along_with_a_switch_and_who_streams_does_not(store: Path) -> None:
    async with ladder_of(store) as engine:
        await engine.load_model(INT8)
        alone = {name: await text_of(engine, *talk(), model=name) for name in (FP32, INT8)}
        streams = [engine.stream(request(*talk())) for _ in range(3)]
        streaming = [asyncio.create_task(anext(stream)) for stream in streams]
        asking = [asyncio.create_task(engine.transcribe(request(*talk()))) for _ in range(12)]
        await eventually(lambda: engine.load().windows >= 8)
        await engine.order(TINY, Orders(pin="int8"))
        assert info(engine, INT8).leases >= 6
        answers = await asyncio.gather(*asking)
        await asyncio.gather(*streaming)
        ends = [item for stream in streams async for item in stream if isinstance(item, Served)]
        assert [served.manifest.name for served in ends] == [FP32] * 3
        assert [info(engine, name).leases for name in (FP32, INT8)] == [0, 0]
    assert [served.transcript.text for served in answers] == [alone[served.manifest.name] for served in answers]
    moved = [served for served in answers if served.manifest.name == INT8]
    assert len(moved) >= 6
    assert {served.reason for served in moved} == {"pinned by an operator"}


async def test_a_request_ends_with_the_variant_that_it_began_with(store: Path) -> None:
    async with ladder_of(store) as engine:
        stream = engine.stream(request(*talk() * 8))
        await anext(stream)
        await engine.order(TINY, Orders(pin="int8"))
        unloading = asyncio.create_task(engine.unload_model(FP32))
        await eventually(lambda: info(engine, FP32).state == "draining")
        assert info(engine, FP32).leases == 1
        assert (await engine.transcribe(request(talk()[0]))).manifest.name == INT8
        *_, last = [item async for item in stream]
        assert isinstance(last, Served)
        assert last.manifest.name == FP32
        assert last.transcript.text.lower().count("lazy dog") == 16
        await unloading
        assert info(engine, FP32).state == "available"


async def test_what_cannot_serve_is_refused_by_name_while_the_other_serves(store: Path) -> None:
    cut(store / TINY / "int8" / "decoder.onnx")
    async with ladder_of(store) as engine:

        async def traffic() -> None:
            while True:
                assert "lazy dog" in await text_of(engine, talk()[0])

        serving = asyncio.create_task(traffic())
        with pytest.raises(ModelUnavailable, match=rf"{INT8}.*decoder\.onnx"):
            await engine.order(TINY, Orders(pin="int8"))
        with pytest.raises(ModelUnavailable, match=INT8):
            await engine.load_model(INT8)
        with pytest.raises(ModelUnavailable, match=INT8):
            await engine.transcribe(request(talk()[0], model=INT8))
        wished = await engine.transcribe(replace(request(talk()[0]), precision="int8"))
        assert wished.manifest.name == FP32
        assert f"{INT8} failed" in wished.reason
        assert info(engine, INT8).state == "failed"
        assert not serving.done()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        report = engine.precision()
    assert report.models[0].orders == Orders()
    assert report.models[0].serving == FP32
    assert {event.kind for event in report.events} == {"loaded", "failed"}


async def test_what_hears_nonsense_never_serves(store: Path) -> None:
    deafen(store / TINY / "int8")
    async with ladder_of(store) as engine:
        with pytest.raises(ModelUnavailable, match=f"{INT8}.*smoke test"):
            await engine.order(TINY, Orders(pin="int8"))
        assert (await engine.transcribe(request(talk()[0]))).manifest.name == FP32


async def test_a_server_starts_with_the_next_rung_where_the_first_is_damaged(store: Path) -> None:
    cut(store / TINY / "fp32" / "decoder.onnx")
    async with ladder_of(store) as engine:
        served = await engine.transcribe(request(talk()[0]))
        assert served.manifest.name == INT8
        assert engine.precision().models[0].cause == "failure"


async def test_a_variant_damaged_while_it_was_not_in_memory_is_made_up_for(store: Path) -> None:
    async with ladder_of(store) as engine:
        await engine.unload_model(FP32)
        cut(store / TINY / "fp32" / "decoder.onnx")
        served = await engine.transcribe(request(talk()[0]))
        assert served.manifest.name == INT8
        assert "lazy dog" in served.transcript.text


async def test_what_there_is_no_room_for_is_refused_by_name(store: Path) -> None:
    async with ladder_of(store, "int8", memory=300 * 2**20) as engine:
        with pytest.raises(NoRoom, match=rf"{FP32}.*WREN_MEMORY"):
            await engine.load_model(FP32)
        assert "lazy dog" in await text_of(engine, talk()[0])


async def test_what_a_request_wants_gone_afterwards_is_gone(store: Path) -> None:
    async with ladder_of(store) as engine:
        served = await engine.transcribe(replace(request(talk()[0], model=INT8), keep_alive_s=0.0))
        assert served.manifest.name == INT8
        await eventually(lambda: info(engine, INT8).state == "available")
        assert info(engine, FP32).state == "loaded"


async def test_a_model_that_left_memory_comes_back_with_the_next_request() -> None:
    async with engine_of() as engine:
        gone = await engine.unload_model("auto")
        assert [(one.manifest.name, one.state) for one in gone] == [(INT8, "available")]
        assert engine.load().loaded == ()
        assert "lazy dog" in await text_of(engine, talk()[0])


async def test_clients_that_come_while_a_model_is_unloaded_and_loaded_all_get_their_text() -> None:
    async with engine_of() as engine:

        async def churn() -> None:
            for _ in range(5):
                await engine.unload_model(TINY)
                await engine.load_model(TINY)

        texts = [text_of(engine, talk()[0]) for _ in range(12)]
        found, _ = await asyncio.gather(asyncio.gather(*texts), churn())
    assert set(found) == {"The quick brown fox jumps over the lazy dog."}


async def test_a_pin_that_is_none_of_the_variants_says_which_there_are(store: Path) -> None:
    async with ladder_of(store) as engine:
        with pytest.raises(OptionError, match=f"{FP32}, {INT8}"):
            await engine.order("auto", Orders(pin="int3"))


async def test_whoever_asks_is_told_what_serves_before_its_text(store: Path) -> None:
    told: list[str] = []
    async with ladder_of(store) as engine:
        asked: Request = replace(request(talk()[0]), on_chosen=lambda manifest, _: told.append(manifest.name))
        stream = engine.stream(asked)
        await anext(stream)
        assert told == [FP32]
        await stream.aclose()
