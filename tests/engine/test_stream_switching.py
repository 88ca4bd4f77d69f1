"""Live streams of the engine with real variants, which change while somebody speaks."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from model_store.registry import Registry
from service.audio.types import SAMPLE_RATE
from service.engine.device import read_device
from service.engine.forming import Layout
from service.engine.planner import Planner
from service.engine.precision import Orders
from service.engine.streaming import Interim
from service.settings import Settings
from tests.audio.speech import recording
from tests.engine.listening import (
    FP32,
    INT8,
    LIMIT_S,
    PLAIN,
    SENTENCES,
    Listener,
    conversation,
    leases,
    said,
    serving,
)
from tests.engine.recordings import TINY
from tests.engine.sessions import finals, pcm, tile
from tests.engine.stores import linked_store
from tests.engine.test_profiles import PROFILE

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return linked_store(tmp_path / "store", "silero-vad/fp32", f"{TINY}/fp32", f"{TINY}/int8")


async def test_a_variant_that_is_not_there_is_loaded_for_a_stream(store: Path) -> None:
    async with serving(store, ladder=("fp32", "int8")) as engine:
        (final,) = finals(await said(engine, pcm(recording("en/hello_world")), replace(PLAIN, model=INT8)))
        assert final.manifest is not None
        assert final.manifest.name == INT8


@pytest.mark.parametrize(("most", "limits"), [(None, (3, 6, 3)), (5, (5, 5, 5))])
async def test_as_many_are_held_as_the_variant_that_serves_carries(
    most: int | None, limits: tuple[int, int, int], store: Path
) -> None:
    registry = Registry(store)
    surveyor = Planner(registry, read_device(), Settings(store=store, threads=1, executors=1)).surveyor()
    assert PROFILE.timings is not None
    for variant, speed in (("fp32", 42.0), ("int8", 84.0)):
        timings = replace(PROFILE.timings, speed=speed)
        profile = replace(PROFILE, timings=timings, layout=Layout(1, 1))
        surveyor.profiles.keep(registry.get(TINY, variant), profile, surveyor.conditions)
    async with serving(store, most=most, ladder=("fp32", "int8")) as engine:
        found = [engine.load().streams_limit]
        for pin in ("int8", "fp32"):
            await engine.order(TINY, Orders(pin=pin))
            found.append(engine.load().streams_limit)
    assert tuple(found) == limits


async def test_a_switch_in_mid_stream_loses_no_final(store: Path) -> None:
    audio = conversation()
    end_s = 2 * len(audio) / 2 / SAMPLE_RATE
    async with serving(store, ladder=("fp32", "int8")) as engine:
        alone = {name: finals(await said(engine, audio * 2, replace(PLAIN, model=name))) for name in (FP32, INT8)}
        async with engine.listen(PLAIN) as stream:
            listener = Listener(stream)
            await stream.feed(audio)
            await listener.until_finals(1)
            await engine.order(TINY, Orders(pin="int8"))
            before = len(finals(listener.told))
            await stream.feed(audio)
            await stream.finish()
            await listener.task
        found = finals(listener.told)
        assert leases(engine) == 0
    assert tile(listener.told, end_s)
    assert len(found) == len(alone[FP32]) == len(alone[INT8])
    assert not any(final.failure for final in found)
    heard = [(final, final.manifest.name) for final in found if final.manifest is not None]
    assert heard[0][1] == FP32
    assert {name for _, name in heard[max(before, len(SENTENCES)) :]} == {INT8}
    texts = {(name, final.start_s): final.text for name, finals_alone in alone.items() for final in finals_alone}
    assert [final.text for final, _ in heard] == [texts[name, final.start_s] for final, name in heard]


async def test_interims_go_on_with_the_variant_that_serves(store: Path) -> None:
    """In the middle of a segment, too; what was settled stays so."""
    speech = pcm(np.tile(recording(SENTENCES[0])[SAMPLE_RATE // 4 : 2 * SAMPLE_RATE], 3))
    async with serving(store, ladder=("fp32", "int8")) as engine:
        await engine.load_model(INT8)
        async with engine.listen(replace(PLAIN, interims=True)) as stream:
            listener = Listener(stream)
            for number, start in enumerate(range(0, len(speech), 3200)):
                await stream.feed(speech[start : start + 3200])
                await asyncio.sleep(0.05)  # twice the pace: of what is far ahead of the clock there are none
                if number == len(speech) // 3200 // 2:
                    await engine.order(TINY, Orders(pin="int8"))
            await stream.finish()
            await listener.task
        interims = [event for event in listener.told if isinstance(event, Interim)]
        assert leases(engine) == 0
    names = [interim.manifest.name for interim in interims]
    assert names == sorted(names), "fp32, and from the order on int8"
    assert set(names) == {FP32, INT8}
    assert all(now.settled.startswith(before.settled) for before, now in pairwise(interims))
    (final,) = finals(listener.told)
    assert final.manifest is not None
    assert final.manifest.name == INT8


async def test_an_unload_in_mid_stream_loses_no_final() -> None:
    audio = conversation()
    async with serving() as engine:
        alone = finals(await said(engine, audio * 2))
        async with engine.listen(PLAIN) as stream:
            listener = Listener(stream)
            await stream.feed(audio)
            await listener.until_finals(1)
            unloading = asyncio.create_task(engine.unload_model(TINY))
            await asyncio.sleep(0)
            await stream.feed(audio)
            await stream.finish()
            await listener.task
        async with asyncio.timeout(LIMIT_S):
            await unloading
        assert leases(engine) == 0
    assert [final.text for final in finals(listener.told)] == [final.text for final in alone]
    assert {final.manifest.name for final in finals(listener.told) if final.manifest} == {INT8}
