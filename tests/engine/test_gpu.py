import sys
from pathlib import Path

import pytest

from service.engine.gpu import Gpu, parse_gpus, read_gpus

MIB = 2**20


def test_gpus_are_read_from_what_the_tool_prints() -> None:
    found = parse_gpus("NVIDIA H100 80GB HBM3, 81559, 81007\nTesla T4, 15360, 100\n")
    assert found.gpus == (
        Gpu("NVIDIA H100 80GB HBM3", 81559 * MIB, 81007 * MIB),
        Gpu("Tesla T4", 15360 * MIB, 100 * MIB),
    )
    assert (found.memory.amount, found.memory.reason) == (81007 * MIB, "free on NVIDIA H100 80GB HBM3")


@pytest.mark.parametrize("text", ["", "\n", "No devices were found\n", "GB10, [N/A], [N/A]\n", "a,b\n"])
def test_what_tells_no_memory_is_no_gpu(text: str) -> None:
    found = parse_gpus(text)
    assert found.gpus == ()
    assert found.memory.amount == 0
    assert "no GPU" in found.reason


def test_a_machine_without_the_tool_has_none() -> None:
    found = read_gpus("no-such-tool")
    assert (found.gpus, found.reason, found.broken) == ((), "no NVIDIA driver is installed", False)


@pytest.mark.parametrize(("told", "status"), [("cannot communicate with the driver", 9), ("", 12)])
def test_a_broken_driver_is_none_with_what_the_tool_says(tmp_path: Path, told: str, status: int) -> None:
    found = read_gpus(str(tool(tmp_path, f"print({told!r})", status=status)))
    assert (found.gpus, found.broken) == ((), True)
    assert found.reason == f"nvidia-smi fails: {told or f'status {status}'}"


def test_the_tool_is_asked(tmp_path: Path) -> None:
    asked = tool(tmp_path, "assert sys.argv[2].startswith('--format'); print('A, 10, 5')")
    assert read_gpus(str(asked)).gpus == (Gpu("A", 10 * MIB, 5 * MIB),)


def tool(folder: Path, code: str, *, status: int = 0) -> Path:
    path = folder / "nvidia-smi"
    path.write_text(f"#!{sys.executable}\nimport sys\n{code}\nsys.exit({status})\n")
    path.chmod(0o755)
    return path
