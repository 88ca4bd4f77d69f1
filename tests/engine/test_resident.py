from pathlib import Path

import pytest

from service.engine.resident import Resident, parse_status, read_resident

STATUS = "Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  400 kB\nVmRSS:\t  300 kB\nThreads:\t1\n"


def test_linux_tells_what_is_resident_and_what_was() -> None:
    assert parse_status(STATUS) == Resident(300 * 1024, 400 * 1024)
    assert parse_status(f"{STATUS}RssFile:\t  90 kB\n").file_bytes == 90 * 1024


def test_this_process_has_memory() -> None:
    resident = read_resident()
    assert 2**20 < resident.now_bytes <= resident.peak_bytes


@pytest.mark.parametrize("text", [None, "Name:\tpython\n"])
def test_where_there_is_no_such_file_the_peak_is_all_there_is(tmp_path: Path, text: str | None) -> None:
    status = tmp_path / "status"
    if text is not None:
        status.write_text(text)
    resident = read_resident(status)
    assert resident.now_bytes == resident.peak_bytes > 2**20
