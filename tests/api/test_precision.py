from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.api.precision import precision_body
from service.engine.fake import FakeEngine
from service.engine.ladder import Ladder, Rung
from service.engine.precision import Fill, Orders, Signals
from service.engine.types import Event, Governed, PrecisionReport
from tests.api.speech import FOX, app_of, client_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GOVERNED = Governed(
    model="tiny",
    serving="tiny:int8",
    cause="load",
    reason="recordings wait 1.2 s, of 0.5 s at most",
    since=NOON,
    ladder=Ladder(
        (Rung("tiny:fp32", speed=20, latency_ms=150, memory_bytes=300_000_000, wer_loss=0), Rung("tiny:int8")),
        (("tiny:fp16", "this processor has no FP16"),),
    ),
    orders=Orders(lowest="int8"),
    switching_to="tiny:fp32",
    interims=False,
)
SWITCH = Event(NOON, "switched", "tiny:int8", "much to do", 0.31234, 80_000_000, previous="tiny:fp32", cause="load")
REPORT = PrecisionReport(
    models=(GOVERNED,),
    signals=Signals(5.0, 1.2, 0.5, 3, 31.5, 29.123, (Fill("memory", 4, 10),), 1),
    resident_bytes=4,
    memory_bytes=10,
    events=(SWITCH, Event(NOON - timedelta(seconds=1), "loaded", "tiny:int8", "it was wanted", 0.3, 80_000_000)),
)


def test_what_serves_is_told_with_its_rungs_and_orders() -> None:
    (one,) = precision_body(REPORT).model_dump(mode="json")["models"]
    rungs, left_out = one.pop("rungs"), one.pop("left_out")
    assert one == {
        "model": "tiny",
        "serving": "tiny:int8",
        "cause": "load",
        "reason": "recordings wait 1.2 s, of 0.5 s at most",
        "since": "2026-01-01T12:00:00Z",
        "switching_to": "tiny:fp32",
        "interims": False,
        "pin": None,
        "highest": None,
        "lowest": "int8",
    }
    assert [(rung["id"], rung["speed"], rung["wer_loss"]) for rung in rungs] == [
        ("tiny:fp32", 20, 0),
        ("tiny:int8", None, None),
    ]
    assert left_out == [{"id": "tiny:fp16", "reason": "this processor has no FP16"}]


def test_signals_and_events_are_told_in_their_units() -> None:
    body = precision_body(REPORT)
    assert body.signals.model_dump() == {
        "queue_delay_ms": 1200,
        "target_ms": 500,
        "offered": 31.5,
        "speed": 29.12,
        "refused": 3,
        "exhausted": 1,
        "memory": [{"name": "memory", "used_bytes": 4, "limit_bytes": 10}],
    }
    assert (body.resident_bytes, body.memory_bytes) == (4, 10)
    first, second = body.events
    assert (first.kind, first.previous, first.cause, first.took_ms) == ("switched", "tiny:fp32", "load", 312.3)
    assert (second.kind, second.previous, second.cause, second.memory_bytes) == ("loaded", None, None, 80_000_000)


def test_nothing_known_is_null() -> None:
    body = precision_body(replace(REPORT, memory_bytes=None, signals=Signals(0.0)))
    assert (body.memory_bytes, body.signals.speed, body.signals.memory) == (None, None, [])


@pytest.mark.anyio
async def test_the_route_tells_what_the_engine_reports() -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        answer = await client.get("/v1/precision")
    assert answer.status_code == 200
    assert answer.json()["models"][0]["serving"] == "fake:fp32"
