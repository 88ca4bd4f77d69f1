import pytest

from service.api.quota import (
    UNLIMITED,
    Allowance,
    Limit,
    Limits,
    Quotas,
    RateLimited,
    Usage,
    headers,
    leaked,
    weigh,
    weigh_audio,
)

THREE = Limits(requests_per_minute=3, audio_seconds_per_minute=30, concurrency=2)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refused() -> list[Limit]:
    return []


@pytest.fixture
def quotas(clock: Clock, refused: list[Limit]) -> Quotas:
    return Quotas(THREE, on_refused=refused.append, clock=clock, most=4)


def admitted(quotas: Quotas, client: str = "a", own: Limits = UNLIMITED) -> Allowance:
    allowance = quotas.allowance(client, own)
    allowance.admit()
    return allowance


@pytest.mark.parametrize(
    ("usage", "limit", "wait_s"),
    [
        (Usage(0.0), None, 0),
        (Usage(0.0, requests=2, audio_s=29, running=1), None, 0),
        (Usage(0.0, requests=2.5), "requests", 10),
        (Usage(0.0, requests=3), "requests", 20),
        (Usage(0.0, audio_s=29.5), "audio", 1),
        (Usage(0.0, audio_s=119), "audio", 180),
        (Usage(0.0, running=2), "concurrency", 1),
        (Usage(0.0, requests=3, audio_s=99, running=2), "concurrency", 1),
    ],
)
def test_what_was_used_decides_with_the_time_to_come_back(usage: Usage, limit: str | None, wait_s: float) -> None:
    refusal = weigh(usage, THREE)
    assert (refusal.limit if refusal else None, refusal.retry_after_s if refusal else 0) == (limit, wait_s)
    if refusal and limit != "concurrency":
        assert weigh(leaked(usage, THREE, refusal.retry_after_s), THREE) is None
        assert weigh(leaked(usage, THREE, refusal.retry_after_s - 0.1), THREE) is not None


def test_without_limits_nothing_is_too_much() -> None:
    usage = Usage(0.0, requests=1e6, audio_s=1e9, running=10**6)
    assert weigh(usage, UNLIMITED) is None
    assert weigh_audio(usage, UNLIMITED) is None
    assert headers(usage, UNLIMITED) == {}


def test_limits_of_a_key_go_before_the_general_ones() -> None:
    assert Limits(concurrency=7).over(THREE) == Limits(3, 30, 7)


def test_a_minutes_requests_may_come_at_once_and_then_one_every_twenty_seconds(quotas: Quotas, clock: Clock) -> None:
    for _ in range(3):
        admitted(quotas).release()
    with pytest.raises(RateLimited, match=r"requests are limited to 3 a minute\. Try again in 20 s"):
        admitted(quotas)
    clock.now_s += 19
    with pytest.raises(RateLimited, match="in 1 s"):
        admitted(quotas)
    clock.now_s += 1
    admitted(quotas).release()
    with pytest.raises(RateLimited):
        admitted(quotas)


def test_what_is_refused_costs_nothing(quotas: Quotas, clock: Clock, refused: list[Limit]) -> None:
    held = [admitted(quotas), admitted(quotas)]
    for _ in range(5):
        with pytest.raises(RateLimited, match="requests and streams are limited to 2 at once"):
            admitted(quotas)
    assert refused == ["concurrency"] * 5
    held[0].release()
    held[0].release()
    admitted(quotas)
    with pytest.raises(RateLimited):
        admitted(quotas)


def test_seconds_are_charged_once_they_were_heard_and_may_lead_into_debt(quotas: Quotas, clock: Clock) -> None:
    stream = admitted(quotas)
    stream.reach(10.0)
    stream.reach(29.0)
    stream.check_audio()
    stream.reach(20.0)
    stream.reach(60.0)
    with pytest.raises(RateLimited, match=r"audio is limited to 30 s a minute\. Try again in 62 s"):
        stream.check_audio()
    with pytest.raises(RateLimited):
        admitted(quotas)
    clock.now_s += 62
    stream.check_audio()
    admitted(quotas)


def test_clients_do_not_pay_for_each_other(quotas: Quotas) -> None:
    admitted(quotas, "a").reach(1000.0)
    with pytest.raises(RateLimited):
        admitted(quotas, "a")
    admitted(quotas, "b")


def test_who_has_used_nothing_for_long_is_forgotten(quotas: Quotas, clock: Clock) -> None:
    for client in "abc":
        admitted(quotas, client).release()
    assert len(quotas) == 3
    clock.now_s += 60
    admitted(quotas, "d")
    admitted(quotas, "e")
    assert len(quotas) == 2


def test_many_clients_do_not_fill_the_memory_and_push_out_nobody_who_runs_something(quotas: Quotas) -> None:
    runs = admitted(quotas, "runs")
    for number in range(1000):
        admitted(quotas, str(number)).release()
    assert len(quotas) <= 4
    admitted(quotas, "runs")
    with pytest.raises(RateLimited, match="at once"):
        admitted(quotas, "runs")
    runs.release()
    admitted(quotas, "runs")


def test_without_limits_nobody_is_remembered(clock: Clock, refused: list[Limit]) -> None:
    quotas = Quotas(UNLIMITED, on_refused=refused.append, clock=clock)
    admitted(quotas).reach(5.0)
    assert len(quotas) == 0
    admitted(quotas, own=Limits(concurrency=1))
    assert len(quotas) == 1


def test_headers_are_those_of_openai(quotas: Quotas, clock: Clock) -> None:
    allowance = admitted(quotas)
    allowance.reach(31.5)
    assert allowance.headers() == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "20s",
        "x-ratelimit-limit-audio-seconds": "30",
        "x-ratelimit-remaining-audio-seconds": "0",
        "x-ratelimit-reset-audio-seconds": "1m3s",
    }
    clock.now_s += 63
    assert allowance.headers()["x-ratelimit-remaining-requests"] == "3"
    assert allowance.headers()["x-ratelimit-reset-audio-seconds"] == "0s"
