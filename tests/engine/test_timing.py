from model_store.registry import Registry
from service.engine.device import read_device
from service.engine.lanes import BUCKETS
from service.engine.loading import Loader
from service.engine.timing import WINDOWS_S, encodings, measure, steppings
from service.recognition.recognizer import Recognizer
from tests.store import STORE


def recognizer(model: str) -> Recognizer:
    registry = Registry(STORE)
    return Loader(registry, read_device(), threads=1, executors=1).load(registry.get(model, "int8")).recognizer


def test_encodings_are_timed_by_length() -> None:
    for model in ("whisper-tiny.en", "moonshine-tiny"):
        points = encodings(recognizer(model), WINDOWS_S)
        lengths = [point.length for point in points]
        assert lengths == sorted(set(lengths))
        assert all(point.ms > 0 for point in points)


def test_steps_are_timed_by_rows_and_by_length() -> None:
    points = steppings(recognizer("whisper-tiny.en"), BUCKETS, most_rows=5)
    assert [(point.rows, point.length) for point in points] == [(rows, b) for b in BUCKETS for rows in (1, 2, 4)]
    assert all(point.ms > 0 for point in points)


def test_what_is_measured_by_the_way_is_what_the_scheduler_needs() -> None:
    profile = measure(recognizer("moonshine-tiny"), most_rows=2)
    assert profile.rows in (1, 2)
    assert profile.speed > 0
    assert profile.timings is profile.service is None
