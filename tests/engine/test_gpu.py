import sys
from pathlib import Path

import pytest

from service.engine.device import Gpu, Gpus, Limit
from service.engine.gpu import parse_gpus, peak_gpu_bytes, read_gpus, unmet

MIB = 2**20
H100, T4 = Gpu("NVIDIA H100 80GB HBM3", 81559 * MIB, 81007 * MIB), Gpu("Tesla T4", 15360 * MIB, 100 * MIB)
TWO = """GPU-aa11, 580.65.06, NVIDIA H100 80GB HBM3, 81559, 81007
GPU-bb22, 580.65.06, Tesla T4, 15360, 100
"""


def test_gpus_are_read_from_what_the_tool_prints() -> None:
    found = parse_gpus(TWO)
    assert (found.gpus, found.driver, found.reason) == ((H100, T4), "580.65.06", "by nvidia-smi")
    assert found.memory == Limit(100 * MIB, "free on Tesla T4")


@pytest.mark.parametrize("text", ["", "\n", "No devices were found\n", "GPU-a, 580.1, GB10, [N/A], [N/A]\n", "a,b\n"])
def test_what_tells_no_memory_is_no_gpu(text: str) -> None:
    found = parse_gpus(text)
    assert found.gpus == ()
    assert found.memory.amount == 0
    assert "no GPU" in found.reason


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        (None, (H100, T4)),
        ("1", (T4,)),
        ("1,0", (T4, H100)),
        ("GPU-bb", (T4,)),
        ("0,7,1", (H100,)),
        ("", ()),
        ("-1", ()),
        ("MIG-aa11", ()),
    ],
)
def test_what_is_not_visible_to_cuda_is_left_out(visible: str | None, gpus: tuple[Gpu, ...]) -> None:
    found = parse_gpus(TWO, visible)
    assert found.gpus == gpus
    assert found.reason == ("by nvidia-smi" if gpus else f"CUDA_VISIBLE_DEVICES={visible} shows none of 2")


def test_a_machine_without_the_tool_has_none() -> None:
    found = read_gpus(tool="no-such-tool")
    assert (found.gpus, found.reason, found.broken) == ((), "no NVIDIA driver is installed", False)


@pytest.mark.parametrize(("told", "status"), [("cannot communicate with the driver", 9), ("", 12)])
def test_a_broken_driver_is_none_with_what_the_tool_says(tmp_path: Path, told: str, status: int) -> None:
    found = read_gpus(tool=str(tool(tmp_path, f"print({told!r})", status=status)))
    assert (found.gpus, found.broken) == ((), True)
    assert found.reason == f"nvidia-smi fails: {told or f'status {status}'}"


def test_the_tool_is_asked(tmp_path: Path) -> None:
    asked = tool(tmp_path, "assert sys.argv[2].startswith('--format'); print('GPU-a, 1.2, A, 10, 5')")
    assert read_gpus(tool=str(asked)).gpus == (Gpu("A", 10 * MIB, 5 * MIB),)


@pytest.mark.parametrize(
    ("asked", "gpus"),
    [("auto", (H100, T4)), ("cuda", (H100, T4)), ("cuda:1", (T4,)), ("cuda:1,cuda:0", (T4, H100)), ("cuda:2", ())],
)
def test_only_those_that_are_asked_for_count(tmp_path: Path, asked: str, gpus: tuple[Gpu, ...]) -> None:
    found = read_gpus(asked, tool=str(tool(tmp_path, f"print({TWO!r})")))
    assert (found.gpus, found.asked) == (gpus, asked)
    if not gpus:
        assert found.reason == "there are 2 GPUs, counted from 0, and not cuda:2"


def test_on_the_cpu_nobody_is_asked(tmp_path: Path) -> None:
    found = read_gpus("cpu", tool=str(tool(tmp_path, "(sys.argv[0] + '.called').touch()")))
    assert (found.gpus, found.reason, found.asked) == ((), "WREN_DEVICE=cpu", "cpu")


def test_a_process_without_a_gpu_takes_nothing_of_one() -> None:
    assert peak_gpu_bytes() == 0


def tool(folder: Path, code: str, *, status: int = 0) -> Path:
    path = folder / "nvidia-smi"
    path.write_text(f"#!{sys.executable}\nimport sys\n{code}\nsys.exit({status})\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("gpus", "warned"),
    [
        (Gpus((), "no NVIDIA driver is installed", asked="cuda"), True),
        (Gpus((), "nvidia-smi fails: status 9", broken=True), True),
        (Gpus((), "no NVIDIA driver is installed"), False),
        (Gpus((), "WREN_DEVICE=cpu", asked="cpu"), False),
        (Gpus((T4,), "by nvidia-smi", asked="cuda"), False),
    ],
)
def test_a_gpu_that_should_be_there_and_is_not_is_warned_of(gpus: Gpus, warned: bool) -> None:
    told = unmet(gpus)
    assert (told is not None) == warned
    assert told is None or (gpus.reason in told and f"WREN_DEVICE={gpus.asked}" in told)
