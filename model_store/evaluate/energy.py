"""What the processor's packages took: the counters of Linux's powercap in, joules out.

Each package counts microjoules up to a range and starts again at 0, after an hour of full load or less; so a meter is
read often. Since 2020 most systems let only root read the counters.
"""

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Counter:
    """What a package has counted, and where it starts again at 0; both in microjoules."""

    counted_uj: int
    range_uj: int

    def since(self, before: "Counter") -> int:
        """Microjoules since an earlier reading, if the counter went round at most once."""
        return (self.counted_uj - before.counted_uj) % self.range_uj


def read_counters(powercap: Path = POWERCAP) -> dict[str, Counter]:
    """The counters of the packages by name; none where the machine has none, or does not let them be read."""
    found: dict[str, Counter] = {}
    # One colon: a second one marks a part of a package, which the package counts as well.
    for zone in sorted(powercap.glob("intel-rapl:[0-9]*")):
        try:
            if zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package"):
                found[zone.name] = Counter(_number(zone / "energy_uj"), _number(zone / "max_energy_range_uj"))
        except (OSError, ValueError):
            return {}  # half of the packages would be a wrong figure
    return found


class Meter:
    """Adds up from its making on. Read it more often than a counter goes round."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._powercap = powercap
        self._last = read_counters(powercap)
        self._microjoules = 0

    def read(self) -> float | None:
        """Joules so far, None where they cannot be known."""
        now = read_counters(self._powercap)
        if not self._last or now.keys() != self._last.keys():
            self._last = {}
            return None
        self._microjoules += sum(counter.since(self._last[name]) for name, counter in now.items())
        self._last = now
        return self._microjoules / 1e6


def _number(file: Path) -> int:
    return int(file.read_text())
