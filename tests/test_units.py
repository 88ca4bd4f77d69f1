import math
import time

import pytest

from service.units import parse_duration_ms, parse_size, parse_stay_s, shown_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("300MB", 300_000_000),
        ("300 mb", 300_000_000),
        ("512MiB", 512 * 2**20),
        ("512Mi", 512 * 2**20),
        ("512m", 512 * 2**20),
        ("2GB", 2_000_000_000),
        ("1g", 2**30),
        ("1.5g", 3 * 2**29),
        (".5g", 2**29),
        ("4194304", 2**22),
        ("10000000b", 10_000_000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["300", "1", ".5k", "10b", "1023k"])
def test_a_size_whose_unit_was_forgotten_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"bytes: write it like 300MB"):
        parse_size(text)


@pytest.mark.parametrize(("text", "ms"), [("300ms", 300), ("0.2s", 200), ("250", 250), ("1 min", 60_000)])
def test_durations_are_read_as_people_write_them(text: str, ms: float) -> None:
    assert parse_duration_ms(text) == pytest.approx(ms)


@pytest.mark.parametrize("text", ["", "much", "MB", "-1MB", "0", "0GB", "1e3", "1 XB", "3,5g", "1" * 400, "nan", "inf"])
def test_what_is_no_size_is_told_in_one_line_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"^'.*' is no size: write it like 300MB") as caught:
        parse_size(text)
    assert "\n" not in str(caught.value)


def test_what_a_stranger_sends_is_refused_at_once() -> None:
    started = time.perf_counter()
    with pytest.raises(ValueError, match="is no size"):
        parse_size("1" + " " * 50_000 + "!")
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("text", ["", "soon", "-3ms", "0s", "5 h", "inf"])
def test_what_is_no_duration_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration: write it like 300ms or 0\.2s"):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("0", 0), ("0s", 0), ("5m", 300), ("2 min", 120), ("1h", 3600), ("-1", math.inf)]
)
def test_times_to_stay_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_stay_s(text) == seconds


@pytest.mark.parametrize("text", ["", "long", "-2", "-1m", "5 d", "0x", "inf", "1" * 400])
def test_what_is_no_time_to_stay_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"^'.*' is no time to stay: write it like 30 \(seconds\), 5m"):
        parse_stay_s(text)


def test_a_limit_that_is_shown_is_there() -> None:
    assert shown_size(268_435_456, to=math.floor) == "268 MB"


@pytest.mark.parametrize("size", [1, 999_999, 1_000_001, 213_400_001, 9_999_999_999, 10_000_000_001, 80 * 2**30])
def test_a_size_that_is_shown_is_enough(size: int) -> None:
    number, unit = shown_size(size).split()
    assert size <= float(number) * {"MB": 1e6, "GB": 1e9}[unit] <= size + 1e8
    assert math.isfinite(float(number))
