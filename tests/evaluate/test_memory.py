import subprocess
import sys

from model_store.evaluate.memory import parse_peak, peak_bytes

MIB = 2**20


def test_peak_is_read_from_the_status() -> None:
    assert parse_peak("Name:\twren\nVmPeak:\t  900 kB\nVmHWM:\t  1234 kB\nVmRSS:\t   7 kB\n") == 1234 * 1024
    assert parse_peak("Name:\twren\n") is None


def test_peak_stays_when_memory_is_given_back() -> None:
    before = peak_bytes()
    held = bytearray(before + 64 * MIB)
    del held
    assert peak_bytes() >= before + 64 * MIB


def test_program_does_not_inherit_the_peak_of_the_one_that_starts_it() -> None:
    held = bytearray(512 * MIB)
    code = "from model_store.evaluate.memory import peak_bytes; print(peak_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < len(held) / 4
