"""How much memory this process has: resident now, and the most that it ever had."""

import sys
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes."""

    now_bytes: int
    peak_bytes: int
    file_bytes: int = 0
    """Of what is resident now, pages of files: the system takes those back where memory is short."""


def read_resident(status: Path = STATUS) -> Resident:
    """Of this process; where the system does not tell what is resident now, it is taken for the peak."""
    try:
        return parse_status(status.read_text(encoding="utf-8"))
    except (OSError, KeyError):
        peak_bytes = _peak_bytes()
        return Resident(peak_bytes, peak_bytes)


def parse_status(text: str) -> Resident:
    """What Linux writes in /proc/PID/status.

    Raises:
        KeyError: it does not say.
    """
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    now, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return Resident(now, peak, int(fields.get("RssFile", "0").split()[0]) * 1024)


def _peak_bytes() -> int:
    """Asked second, for Linux hands down the peak of the process that started this one. 0 where there is no telling."""
    if sys.platform == "win32":
        return 0
    import resource  # noqa: PLC0415 - not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
