"""What the load benchmarks count with, and that they talk to a server as its clients do."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import pytest

from benchmarks.clients import Answer, Run, all_at_once, ask, closed_loop, median, rounds, summary, wavering
from benchmarks.liveness import Liveness, pulse
from benchmarks.load import compared
from benchmarks.overtake import beginnings, joined
from benchmarks.servers import Server, peer_config
from benchmarks.soak import HUNG_UP, Fickle
from benchmarks.speech import PACKAGED, Utterance, load
from benchmarks.watching import Sample, gauges, last_half, sample, trend
from tests.live import LiveServer

URL = "http://server.test"


@pytest.fixture(scope="module")
def spoken() -> list[Utterance]:
    return load(None, [PACKAGED], languages=["en"])


@pytest.fixture
def served(server: LiveServer) -> Server:
    return Server("live", server.url, server.pid, server.key)


def answered(u: Utterance, *seconds: float, text: str = "") -> Iterator[Answer]:
    return (Answer(u, "200", one, text or u.text) for one in seconds)


def test_summary_is_of_what_was_answered(spoken: list[Utterance]) -> None:
    u = spoken[0]
    refused = [Answer(u, "429", 0.01, retry_after_s=3), Answer(u, "429", 0.01), Answer(u, "ReadError", 9.0)]
    found = summary(Run((*answered(u, *(n / 100 for n in range(1, 101))), *refused), 10.0))
    assert found.answered == 100
    assert found.failures == {"429": 2, "ReadError": 1}
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == pytest.approx((510, 960, 1000))
    assert found.requests_per_s == pytest.approx(10)
    assert found.rtfx == pytest.approx(10 * u.duration_s)
    assert found.wer == 0


def test_run_without_answers_has_no_summary(spoken: list[Utterance]) -> None:
    with pytest.raises(RuntimeError, match="'500': 1"):
        summary(Run((Answer(spoken[0], "500", 0.1),), 1.0))


def test_median_and_ratios_are_of_several_turns(spoken: list[Utterance]) -> None:
    runs = [Run(tuple(answered(spoken[0], 0.1 * wall_s)), wall_s) for wall_s in (1.0, 2.0, 9.0)]
    middle = median([summary(run) for run in runs])
    assert middle.p50_ms == pytest.approx(200)
    assert middle.answered == 3
    beside = compared(middle, summary(runs[2]))
    assert beside == pytest.approx({"times_the_throughput": 4.5, "p95_by_their_p50": 200 / 900})


def test_rounds_are_whole_ones(spoken: list[Utterance]) -> None:
    assert list(rounds(spoken, least_s=0)) == spoken
    assert list(islice(rounds(spoken, least_s=60), 2 * len(spoken))) == spoken * 2


def test_texts_that_waver_are_named(spoken: list[Utterance]) -> None:
    one, two, *_ = spoken
    assert wavering([*answered(one, 1, 1), *answered(two, 1), *answered(two, 1, text="Else.")]) == [two.name]


def test_refusal_says_when_to_come_back(spoken: list[Utterance]) -> None:
    async def asked(reply: httpx.Response) -> Answer:
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: reply), base_url=URL) as http:
            return await ask(http, spoken[0])

    busy = asyncio.run(asked(httpx.Response(429, headers={"retry-after": "7"})))
    assert (busy.status, busy.retry_after_s) == ("429", 7)
    assert asyncio.run(asked(httpx.Response(500))).retry_after_s == 0


def test_fickle_client_breaks_off_some_requests(spoken: list[Utterance]) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        return await asyncio.Future()

    async def at_once(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"text": "Hello."})

    async def asked(handler: httpx.MockTransport, share: float) -> Answer:
        fickle = Fickle(share, usual_s=0.01)
        async with httpx.AsyncClient(transport=handler, base_url=URL) as http:
            return await fickle(http, spoken[0])

    assert asyncio.run(asked(httpx.MockTransport(never), 1.0)).status == HUNG_UP
    assert asyncio.run(asked(httpx.MockTransport(at_once), 0.0)).text == "Hello."


def test_trend_is_of_the_last_half_by_time() -> None:
    samples = [
        Sample(at_s, resident, 0, 0, 0) for at_s, resident in ((0, 10), (50, 90), (60, 100), (90, 103), (120, 106))
    ]
    half = last_half(samples)
    assert [one.at_s for one in half] == [60, 90, 120]
    assert trend(half).mib_per_minute == pytest.approx(6)
    assert trend(half).spread_mib == pytest.approx(6)


def test_pulse_counts_what_was_late_and_what_was_missed() -> None:
    found = pulse([0.001, 0.002, 0.060, None])
    assert (found.asked, found.missed, found.late) == (4, 1, 1)
    assert (found.p50_ms, found.max_ms) == pytest.approx((2, 60))
    assert pulse([None]).max_ms == float("inf")


def test_file_is_as_long_as_asked_and_clips_are_beginnings(spoken: list[Utterance], tmp_path: Path) -> None:
    file = joined(spoken, 10, tmp_path)
    assert 9.9 <= file.duration_s < 10 + max(u.duration_s for u in spoken)
    assert file.text.startswith(max(spoken, key=lambda u: u.duration_s).text)
    clips = beginnings(spoken, 2.0, tmp_path)
    assert [clip.duration_s for clip in clips] == [2.0] * sum(u.duration_s >= 2 for u in spoken)


def test_config_of_the_peer_is_json_with_the_weights(tmp_path: Path) -> None:
    assert f'"path": "{tmp_path}"' in peer_config(tmp_path, "int8", threads=2)


def test_clients_are_answered_and_the_process_watched(served: Server, spoken: list[Utterance]) -> None:
    with Liveness(served) as asking:
        run = asyncio.run(closed_loop(served, iter(spoken * 2), clients=2))
    assert run.statuses == {"200": 2 * len(spoken)}
    assert summary(run).wer < 100  # some variants write numbers as digits
    assert asking.pulse.asked > 0
    assert asking.pulse.missed == 0
    found = sample(served.pid)
    assert found.resident_mib > found.anonymous_mib > 10
    assert min(found.descriptors, found.threads) > 1
    assert all(name.startswith("wren_") and "_created" not in name for name in gauges(served))


def test_crowd_is_answered_on_a_connection_each(served: Server, spoken: list[Utterance]) -> None:
    run = asyncio.run(all_at_once(served, spoken * 4))
    assert set(run.statuses) <= {"200", "429"}
