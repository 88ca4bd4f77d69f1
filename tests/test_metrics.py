import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import get_args, get_type_hints

import pytest

from service import __version__
from service.engine.fake import FakeEngine, model_info
from service.engine.precision import Cause, Orders
from service.engine.types import Event, Happening, Load, Observer
from service.metrics import Metrics, Reject, Restart

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def value(metrics: Metrics, series: str) -> float:
    """Of the one line that begins so."""
    (found,) = re.findall(rf"^{re.escape(series)} (\S+)$", metrics.render().decode(), re.MULTILINE)
    return float(found)


def test_metrics_observe_an_engine() -> None:
    observer: Observer = Metrics()
    observer.failed()
    for told, reasons in ((Observer.rejected, Reject), (Observer.restarted, Restart)):
        assert get_args(get_type_hints(told)["reason"]) == get_args(reasons)


def test_what_the_engine_does_is_counted() -> None:
    metrics = Metrics()
    metrics.encoded(rows=3, seconds=0.04)
    metrics.stepped(rows=16, seconds=0.0058)
    metrics.rejected("queue")
    metrics.expired()
    metrics.cancelled()
    metrics.failed()
    metrics.restarted("stuck")
    assert value(metrics, "wren_encode_seconds_sum") == 0.04
    assert value(metrics, 'wren_encode_rows_bucket{le="2.0"}') == 0
    assert value(metrics, 'wren_encode_rows_bucket{le="4.0"}') == 1
    assert value(metrics, "wren_step_seconds_count") == 1
    assert value(metrics, "wren_step_rows_sum") == 16
    assert value(metrics, 'wren_rejected_total{reason="queue"}') == 1
    assert value(metrics, "wren_expired_total") == 1
    assert value(metrics, "wren_cancelled_total") == 1
    assert value(metrics, "wren_failed_windows_total") == 1
    assert value(metrics, 'wren_executor_restarts_total{reason="stuck"}') == 1


def test_the_build_is_told() -> None:
    (labels,) = re.findall(r"^wren_build_info\{(.*)\} 1.0$", Metrics().render().decode(), re.MULTILINE)
    told = dict(re.findall(r'(\w+)="([^"]+)"', labels))
    assert told == {"version": __version__, "python": python_version(), "onnxruntime": version("onnxruntime")}


def test_stages_of_finals_are_those_of_requests() -> None:
    metrics = Metrics()
    metrics.settled(lag_s=0.1, audio_s=2.0, variant="fake:fp32", stage_ms={"encode": 20.0, "queue": 5.0})
    assert value(metrics, 'wren_stage_seconds_sum{stage="encode"}') == 0.02
    assert value(metrics, 'wren_stage_seconds_count{stage="queue"}') == 1


def test_reasons_are_there_before_they_happen() -> None:
    metrics = Metrics()
    assert value(metrics, 'wren_rejected_total{reason="deadline"}') == 0
    assert value(metrics, 'wren_executor_restarts_total{reason="crashed"}') == 0


def test_threads_may_count_at_once() -> None:
    metrics = Metrics()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda rows: metrics.stepped(rows=rows, seconds=0.001), range(2000)))
    assert value(metrics, "wren_step_seconds_count") == 2000


class WatchedEngine(FakeEngine):
    """Counts how often it is asked."""

    looks = 0

    def load(self) -> Load:
        self.looks += 1
        return super().load()


def test_load_is_asked_for_once_a_scrape() -> None:
    busy = Load(waiting_s=90, limit_s=600, windows=4, rows=7, speed=12.5, executors=2, stalled_s=0.25)
    metrics, engine = Metrics(), WatchedEngine(busy=busy)
    metrics.watch(engine)
    text = metrics.render().decode()
    assert engine.looks == 1
    for line in (
        "wren_queue_audio_seconds 90.0",
        "wren_queue_limit_audio_seconds 600.0",
        "wren_queue_windows 4.0",
        "wren_rows 7.0",
        "wren_realtime_factor 12.5",
        "wren_executors 2.0",
        "wren_stalled_seconds 0.25",
        "wren_queue_delay_seconds 0.125",
        "wren_resident_bytes 2e+08",
    ):
        assert line in text.splitlines()


def test_what_serves_and_what_is_in_memory_are_measured_at_each_scrape() -> None:
    metrics = Metrics()
    engine = FakeEngine(infos=(model_info("tiny", "fp32", default=True), model_info("tiny", "int8")))
    metrics.watch(engine)
    assert value(metrics, 'wren_rung{model="tiny"}') == 0
    assert 'wren_variant_bytes{variant="tiny:int8"}' not in metrics.render().decode()
    asyncio.run(engine.order("auto", Orders(pin="int8")))
    assert value(metrics, 'wren_rung{model="tiny"}') == 1
    assert value(metrics, 'wren_interims{model="tiny"}') == 1
    assert value(metrics, 'wren_variant_bytes{variant="tiny:int8"}') == 1e8
    assert value(metrics, 'wren_variant_leases{variant="tiny:int8"}') == 0
    assert "\nwren_memory_limit_bytes " not in metrics.render().decode()  # it has none


def test_what_happens_to_variants_is_counted() -> None:
    metrics = Metrics()
    happened: tuple[tuple[Happening, float, Cause | None], ...] = (
        ("loaded", 0.3, None),
        ("loaded", 0.5, None),
        ("failed", 4.0, None),
        ("switched", 0.4, "load"),
        ("unloaded", 0.1, None),
    )
    for kind, took_s, cause in happened:
        metrics.happened(Event(NOW, kind, "tiny:int8", "so it is", took_s, cause=cause))
    assert value(metrics, 'wren_variant_loads_total{outcome="loaded"}') == 2
    assert value(metrics, 'wren_variant_loads_total{outcome="failed"}') == 1
    assert value(metrics, "wren_variant_load_seconds_sum") == pytest.approx(0.8)
    assert value(metrics, "wren_variant_unloads_total") == 1
    assert value(metrics, 'wren_switches_total{cause="load"}') == 1
    assert value(metrics, 'wren_switches_total{cause="memory"}') == 0
    assert value(metrics, "wren_switch_seconds_count") == 1


def test_request_is_compared_with_its_audio() -> None:
    metrics = Metrics()
    metrics.count_request(route="/v1/x", status=200, total_s=0.5)
    metrics.count_audio(variant="m:v", duration_s=5, total_s=0.5)
    assert value(metrics, 'wren_request_seconds_bucket{le="0.5",route="/v1/x"}') == 1
    assert value(metrics, "wren_request_realtime_factor_sum") == 10


def test_tasks_are_those_of_the_loop_that_is_scraped() -> None:
    metrics = Metrics()
    assert value(metrics, "wren_tasks") == 0

    async def scrape() -> float:
        async with asyncio.TaskGroup() as group:
            sleeping = group.create_task(asyncio.Event().wait())
            await asyncio.sleep(0)
            count = value(metrics, "wren_tasks")
            sleeping.cancel()
        return count

    assert asyncio.run(scrape()) == 2


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the process is measured on Linux alone")
def test_the_process_is_measured_and_no_birthday_is_told() -> None:
    text = Metrics().render().decode()
    assert "process_resident_memory_bytes " in text
    assert "process_open_fds " in text
    assert "_created" not in text


def test_two_apps_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.expired()
    assert value(second, "wren_expired_total") == 0
