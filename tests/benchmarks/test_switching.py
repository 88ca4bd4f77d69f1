"""What the benchmarks of switching count with: when requests come, what a switch touches, what a plot shows."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from benchmarks.arrivals import Arrival, Clock, Phase, Timed, arrivals, open_loop
from benchmarks.chart import DARK, LEFT, LIGHT, PANEL, RIGHT, TOP, Chart, Line, Panel, svg
from benchmarks.clients import VARIANT, Answer, Run, ask
from benchmarks.course import Course, Seen, a_second, bounds, looks, told
from benchmarks.cycles import Cycle, level
from benchmarks.damage import add_corrupted, add_shuffled, copied
from benchmarks.operating import Look, Operator, Refused, Rung, Serving, Signals
from benchmarks.refusals import SERVES, Refusal, traffic
from benchmarks.servers import Server
from benchmarks.speech import PACKAGED, Utterance, load
from benchmarks.steps import by_phase, chart, moves, trace
from benchmarks.stretches import Stretch, Switch, figures, pooled, wrong
from tests.live import LiveServer
from tests.store import STORE

PHASES = [Phase("50 %", 10, 5.0), Phase("150 %", 10, 15.0), Phase("50 %", 10, 5.0)]


@pytest.fixture(scope="module")
def spoken() -> list[Utterance]:
    return load(None, [PACKAGED], languages=["en"])


SERVER = Server("none", "http://server.test", 0)


def timed(u: Utterance, due_s: float, done_s: float, *, by: str = "m:fp32", text: str = "") -> Timed:
    return Timed(due_s, done_s, Answer(u, "200", 0.0, text or u.text, variant=by))


def failed(u: Utterance, due_s: float, status: str = "429") -> Timed:
    return Timed(due_s, due_s, Answer(u, status, 0.0))


def seen(at_s: float, rung: str, *, offered: float = 1.0) -> Seen:
    rungs = tuple(
        Rung(id=f"m:{name}", speed=None, latency_ms=None, memory_bytes=None, wer_loss=None) for name in ("a", "b")
    )
    signals = Signals(queue_delay_ms=500, offered=offered, speed=50, refused=0)
    serving = Serving(model="m", serving=f"m:{rung}", reason="", rungs=rungs)
    return Seen(at_s, Look(models=(serving,), signals=signals, resident_bytes=300_000_000), 2.0)


def test_arrivals_are_the_same_for_a_seed_and_as_many_as_asked(spoken: list[Utterance]) -> None:
    found = arrivals(spoken, PHASES, seed=1)
    assert found == arrivals(spoken, PHASES, seed=1)
    assert found != arrivals(spoken, PHASES, seed=2)
    assert [one.due_s for one in found] == sorted(one.due_s for one in found)
    counts = [sum(start <= one.due_s < end for one in found) for start, end in bounds(PHASES)]
    assert sum(counts) == len(found)
    assert counts == pytest.approx([50, 150, 50], rel=0.35)


def test_arrivals_weigh_each_recording_the_same(spoken: list[Utterance]) -> None:
    counts = Counter(one.utterance for one in arrivals(spoken, PHASES, seed=3))
    assert len(counts) == len(spoken)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_open_loop_waits_for_no_answer_and_counts_from_when_a_request_was_due(spoken: list[Utterance]) -> None:
    under_way = most = 0

    async def slow(_: httpx.AsyncClient, u: Utterance) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.04)
        under_way -= 1
        return Answer(u, "200", 0.0)

    async def looped() -> list[Timed]:
        return await open_loop(SERVER, [Arrival(0.0, spoken[0])] * 5, clock=Clock(), ask=slow)

    found = asyncio.run(looped())
    assert most == len(found) == 5
    assert all(0.03 < one.seconds < 1 for one in found)


def test_open_loop_ends_where_it_is_told_to(spoken: list[Utterance]) -> None:
    async def ended() -> list[Timed]:
        end = asyncio.Event()
        end.set()
        return await open_loop(SERVER, [Arrival(0.0, spoken[0])], clock=Clock(), end=end)

    assert asyncio.run(ended()) == []


def test_answer_tells_what_served(spoken: list[Utterance]) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        assert b"m:int8" in request.read()
        return httpx.Response(200, json={"text": "Hello."}, headers={VARIANT: "m:int8"})

    async def asked() -> Answer:
        async with httpx.AsyncClient(transport=httpx.MockTransport(reply), base_url="http://server.test") as http:
            return await ask(http, spoken[0], model="m:int8")

    assert asyncio.run(asked()).variant == "m:int8"


@pytest.mark.parametrize(
    ("due_s", "done_s", "met"), [(0, 9.9, False), (0, 10.1, True), (11.9, 12.5, True), (12.1, 13, False), (5, 20, True)]
)
def test_switch_meets_what_is_under_way_until_a_second_after(
    spoken: list[Utterance], due_s: float, done_s: float, met: bool
) -> None:
    assert Switch("int8", 10, 11).meets(timed(spoken[0], due_s, done_s)) is met


def test_switching_is_compared_with_the_slower_variant_alone(spoken: list[Utterance]) -> None:
    u = spoken[0]
    alone = {("m:fp32", u): u.text, ("m:int8", u): "Else."}
    found = [
        Stretch("fp32 alone", (timed(u, 0, 0.5), failed(u, 1))),
        Stretch("int8 alone", (timed(u, 0, 0.25, by="m:int8", text="Else."),)),
        Stretch(
            "switches",
            (timed(u, 0, 3), timed(u, 5, 5.75), timed(u, 5, 5.5, by="m:int8"), failed(u, 5, "500")),
            (Switch("m:int8", 5, 6), Switch("m:fp32", 8, 10)),
        ),
        Stretch("fp32 alone", (timed(u, 0, 0.5),)),
    ]
    told = figures(list(pooled(found)), alone, slower="m:fp32")
    assert list(told) == ["fp32 alone", "int8 alone", "switches"]
    assert told["fp32 alone"].all.requests == 2
    assert told["fp32 alone"].failures == {"429": 1}
    assert told["fp32 alone"].switching is None
    switching = told["switches"].switching
    assert switching is not None
    assert (switching.switches, switching.slowest_s, switching.under_way.requests) == (2, 2, 2)
    assert switching.by_slower == pytest.approx(1.5)
    assert switching.by_variant == pytest.approx({"m:fp32": 1.5, "m:int8": 2.0})
    assert (told["switches"].wrong_texts, told["int8 alone"].wrong_texts) == (1, 0)


def test_text_of_a_variant_that_was_not_asked_alone_is_wrong(spoken: list[Utterance]) -> None:
    assert wrong(Stretch("", (timed(spoken[0], 0, 1, by="m:int4"),)), {}) == 1


def test_course_tells_phases_and_moves(spoken: list[Utterance]) -> None:
    u = spoken[0]
    answers = [timed(u, 1, 1.5), timed(u, 11, 13), failed(u, 12), failed(u, 13, "500"), timed(u, 25, 25.5)]
    found = Course(tuple(answers), (seen(0, "fp32"), seen(14, "int8"), seen(20, "int8"), seen(27, "fp32")))
    assert moves(found, PHASES) == {"down_s": 4, "up_s": 7, "switches": 2}
    parts = by_phase(found, PHASES)
    assert [(one.offered, one.refused, one.failed) for one in parts.values()] == [
        (1, 0, 0),
        (3, 1, 1),
        (1, 0, 0),
        (0, 0, 0),
    ]
    high = list(parts.values())[1].answered
    assert high is not None
    assert high.p95_ms == pytest.approx(2000)
    assert told([]).answered is None
    fixed = Course((), (seen(0, "fp32"), seen(29, "fp32")))
    assert moves(fixed, PHASES) == {"down_s": None, "up_s": None, "switches": 0}


def test_looks_of_the_policy_are_taken_once() -> None:
    found = Course(
        (),
        (
            seen(0, "a"),
            seen(0.125, "a"),
            seen(0.25, "a", offered=2),
            seen(0.375, "a", offered=2),
            seen(0.5, "a", offered=2),
        ),
    )
    assert [one.at_s for one in looks(found)] == [0, 0.25, 0.5]


def test_rates_are_of_a_window(spoken: list[Utterance]) -> None:
    answers = [timed(spoken[0], at_s, at_s) for at_s in (0.5, 1.5, 1.6, 3.5)]
    assert a_second(answers, seconds=4, window_s=2) == [(1, 1), (2, 1.5), (3, 1), (4, 0.5)]


def test_plot_and_trace_show_the_course(spoken: list[Utterance]) -> None:
    found = Course(
        (timed(spoken[0], 1, 1.5), failed(spoken[0], 12)), (seen(0, "fp32"), seen(14, "int8"), seen(27, "fp32"))
    )
    fixed = Course(found.answers, (seen(0, "fp32"), seen(27, "fp32")))
    drawn = chart([found, fixed], PHASES, carried=10, target_s=1)
    for theme in (LIGHT, DARK):
        page = ElementTree.fromstring(svg(drawn, theme))
        assert page.tag == "{http://www.w3.org/2000/svg}svg"
        texts = [one.text for one in page.iter("{http://www.w3.org/2000/svg}text")]
        assert {"fp32", "int8", "keeps to fp32", "seconds", "30"} <= set(texts)
    kept = json.loads(trace(found, PHASES, target_s=1.0))
    assert len(kept["rows"]) == 3
    row = dict(zip(kept["columns"], kept["rows"][1], strict=True))
    expected = {"at_s": 14, "delay_s": 0.5, "offered": 1, "speed": 50, "refused": 0, "resident_mb": 300, "rung": 1}
    assert row == expected
    assert [rung["id"] for rung in kept["rungs"]] == ["m:a", "m:b"]


def test_panel_draws_heights_from_its_bottom_to_its_top() -> None:
    line = Line([(0, 0), (5, 1)], steps=True)
    page = svg(Chart("", ["one"], [Panel("rung", [line], names=["low", "high"])], 10, (2, 4)), LIGHT)
    low, high = TOP + 0.75 * PANEL, TOP + 0.25 * PANEL
    assert f"M{LEFT}.0 {low}H{(LEFT + RIGHT) / 2}V{high}H{RIGHT}" in page


def test_level_of_memory_is_that_after_the_fifth() -> None:
    mib = [100.0, 150, 190, 200, 200, 190, 204, 202]
    found = level(90, [Cycle("m:int8", 0.5, 0.1, 300, one) for one in mib])
    assert (found.before_mib, found.fifth_mib, found.last_mib, found.cycles) == (90, 200, 202, 8)
    assert found.most_off_percent == pytest.approx(5)


def test_refusal_is_right_if_it_names_the_variant_and_the_old_one_serves() -> None:
    right = Refusal("m:bad", "to load", 503, "model_unavailable", "m:bad cannot be loaded: damaged", SERVES)
    assert right.right
    assert not Refusal("m:bad", "to load", 503, "model_unavailable", "cannot be loaded", SERVES).right
    assert not Refusal("m:bad", "to load", 0, "", "", SERVES).right
    assert not Refusal("m:bad", "by a pin", 503, "", "m:bad is damaged", "m:bad").right


def test_traffic_by_another_variant_is_strange(spoken: list[Utterance]) -> None:
    one, two, *_ = (Answer(u, "200", 0.1, u.text, variant=SERVES) for u in spoken)
    other = Answer(spoken[0], "200", 0.1, "Else.", variant="m:bad")
    found = traffic(Run((one, two, other, Answer(spoken[0], "503", 0.1)), 1.0))
    assert (found.answered, found.failures, found.strange) == (3, {"503": 1}, 1)
    assert found.texts_that_differ == [spoken[0].name]


def test_damaged_store_has_one_that_fails_its_checksum_and_one_that_does_not(tmp_path: Path) -> None:
    registry = copied(STORE, tmp_path / "store", [SERVES])
    original = registry.get(*SERVES.split(":"))
    names = [add(registry, original, tmp_path / "built") for add in (add_corrupted, add_shuffled)]
    assert names == ["whisper-tiny.en:corrupted", "whisper-tiny.en:shuffled"]
    problems = registry.verify()
    assert [(one.variant, one.file.name) for one in problems] == [("corrupted", "encoder.onnx")]
    assert registry.get("whisper-tiny.en", "shuffled").digests != original.digests


def test_order_that_is_refused_says_why(server: LiveServer) -> None:
    async def ordered() -> None:
        async with Operator(Server("live", server.url, server.pid, server.key)) as operator:
            await operator.transcribe("whisper-tiny.en:none", b"RIFF")

    with pytest.raises(Refused, match=r"whisper-tiny\.en:none") as refused:
        asyncio.run(ordered())
    assert refused.value.status == 404
