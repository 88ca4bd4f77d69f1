from pathlib import Path

import pytest

from model_store.evaluate.energy import Counter, Meter, read_counters

RANGE_UJ = 262_143_328_850


def zone(powercap: Path, name: str, title: str, counted_uj: int) -> None:
    folder = powercap / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, value in (("name", title), ("energy_uj", counted_uj), ("max_energy_range_uj", RANGE_UJ)):
        (folder / file).write_text(f"{value}\n")


def two_packages(powercap: Path, first_uj: int, second_uj: int) -> Path:
    """As a machine with two sockets has it: a core domain in the first, and the same counter once more by MMIO."""
    zone(powercap, "intel-rapl:0", "package-0", first_uj)
    zone(powercap, "intel-rapl:0:0", "core", first_uj)
    zone(powercap, "intel-rapl:1", "package-1", second_uj)
    zone(powercap, "intel-rapl:2", "psys", 7)
    zone(powercap, "intel-rapl-mmio:0", "package-0", first_uj)
    return powercap


def test_packages_are_added_up_and_nothing_else(tmp_path: Path) -> None:
    meter = Meter(two_packages(tmp_path, 1_000_000, 5_000_000))
    assert meter.read() == 0
    two_packages(tmp_path, 3_000_000, 5_500_000)
    assert meter.read() == pytest.approx(2.5)


def test_counter_that_went_round_goes_on(tmp_path: Path) -> None:
    assert Counter(500, RANGE_UJ).since(Counter(RANGE_UJ - 1000, RANGE_UJ)) == 1500
    meter = Meter(two_packages(tmp_path, RANGE_UJ - 1_000_000, 0))
    for counted_uj in (1_000_000, RANGE_UJ - 2_000_000, 1_000_000):
        two_packages(tmp_path, counted_uj, 0)
        found = meter.read()
    assert found == pytest.approx((2e6 + RANGE_UJ - 3e6 + 3e6) / 1e6)


def test_machine_without_counters_has_no_energy(tmp_path: Path) -> None:
    assert read_counters(tmp_path) == {}
    assert Meter(tmp_path).read() is None


def test_counter_that_cannot_be_read_is_no_zero(tmp_path: Path) -> None:
    two_packages(tmp_path, 1, 1)
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("")
    assert Meter(tmp_path).read() is None


def test_counter_that_vanishes_ends_the_measurement(tmp_path: Path) -> None:
    meter = Meter(two_packages(tmp_path, 1, 1))
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.read() is None
    two_packages(tmp_path, 2, 2)
    assert meter.read() is None
