"""The most memory that this process has had resident."""

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def parse_peak(status: str) -> int | None:
    """Bytes by the `VmHWM` of a /proc/PID/status, None where it has none."""
    for line in status.splitlines():
        name, _, rest = line.partition(":")
        if name == "VmHWM":
            return int(rest.split()[0]) * 1024
    return None


def peak_bytes() -> int:
    """Since the program began. `ru_maxrss`, the second choice, is handed down by the process that started this one."""
    status = STATUS.read_text() if STATUS.exists() else ""
    # macOS counts bytes, the others KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    return parse_peak(status) or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
