from pathlib import Path

import pytest

from service.engine.device import (
    parse_cgroups,
    parse_cpu,
    parse_cpu_max,
    parse_hierarchical_limit,
    parse_memory_limit,
    parse_memory_total,
    parse_quota,
    read_device,
    usable_cores,
    usable_memory,
)

GIB = 2**30

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse4_2 f16c avx avx2 avx512f avx512_bf16 avx512_vnni avx_vnni amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""
GRAVITON = """\
processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes fphp asimdhp cpuid asimddp sve i8mm bf16
CPU implementer\t: 0x41
"""
ATOM = "model name\t: Intel(R) Celeron(R) CPU N3350\nflags\t\t: fpu sse4_2\n"
MEMINFO = "MemTotal:       24683520 kB\nMemFree:        20000000 kB\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    """A recorded machine: `files` by their path, atop a Xeon's."""
    for name, text in ({"proc/cpuinfo": XEON, "proc/meminfo": MEMINFO} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "cores"),
    [("200000 100000\n", 2.0), ("150000 100000", 1.5), ("50000", 0.5), ("max 100000\n", None), ("", None)],
)
def test_cpu_max_is_read_as_cores(text: str, cores: float | None) -> None:
    assert parse_cpu_max(text) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("400000", "100000", 4.0), ("-1", "100000", None), ("100", "0", None), ("", "", None)],
)
def test_v1_quota_is_read_as_cores(quota: str, period: str, cores: float | None) -> None:
    assert parse_quota(quota, period) == cores


@pytest.mark.parametrize(
    ("text", "limit"), [("536870912\n", GIB // 2), ("max\n", None), ("9223372036854771712\n", None), ("", None)]
)
def test_memory_limit_is_read_as_bytes(text: str, limit: int | None) -> None:
    assert parse_memory_limit(text) == limit


def test_memory_total_is_read_as_bytes() -> None:
    assert parse_memory_total(MEMINFO) == 24_683_520 * 1024
    assert parse_memory_total("") is None


def test_x86_features_are_those_that_matter() -> None:
    name, features = parse_cpu(XEON)
    assert name.startswith("Intel(R) Xeon(R) Platinum 8481C")
    assert features == (
        "avx2", "avx512", "avx512-vnni", "avx512-bf16", "avx-vnni", "amx-int8", "amx-bf16", "f16c",
    )  # fmt: skip


def test_arm_features_are_those_that_matter() -> None:
    assert parse_cpu(GRAVITON) == ("", ("fp16", "dotprod", "i8mm", "bf16", "sve"))


def test_cgroups_of_both_versions_are_read() -> None:
    assert parse_cgroups("0::/user.slice/app\n") == {"": "/user.slice/app"}
    assert parse_cgroups("4:memory:/a\n2:cpu,cpuacct:/b\n") == {"memory": "/a", "cpu": "/b", "cpuacct": "/b"}


def test_quota_rounds_down_to_whole_cores_and_never_to_none() -> None:
    assert usable_cores(8, 2.9).amount == 2
    assert usable_cores(8, 0.5).amount == 1
    assert usable_cores(2, 4.0).amount == 2
    assert "quota of 2.9, of 8" in usable_cores(8, 2.9).reason


def test_memory_is_the_smaller_of_limit_and_total() -> None:
    assert usable_memory(8 * GIB, GIB).amount == GIB
    assert usable_memory(GIB, 8 * GIB).amount == GIB
    assert usable_memory(None, None).reason == "unknown"


def test_v2_container_is_limited_by_its_cgroup(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": "200000 100000",
        "sys/fs/cgroup/memory.max": str(GIB),
    }
    device = read_device(machine(tmp_path, files), affinity=16)
    assert (device.cores, device.memory_bytes) == (2, GIB)
    assert device.fast_int8


def test_the_tightest_cgroup_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/cpu.max": "100000 100000",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000",
    }
    device = read_device(machine(tmp_path, files), affinity=16)
    assert device.cores == 1


def test_v1_container_whose_path_is_the_hosts_is_limited_by_its_mount(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 * GIB),
    }
    device = read_device(machine(tmp_path, files), affinity=16)
    assert (device.cores, device.memory_bytes) == (3, 2 * GIB)


def test_the_limit_from_which_a_process_is_slowed_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/memory.high": str(GIB),
        "sys/fs/cgroup/a/memory.max": str(3 * GIB),
        "sys/fs/cgroup/a/b/memory.max": str(2 * GIB),
        "sys/fs/cgroup/a/b/memory.high": "max",
    }
    assert read_device(machine(tmp_path, files)).memory_bytes == GIB


def test_v1_limit_of_a_cgroup_that_the_container_does_not_see_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/docker/abc\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 * GIB),
        "sys/fs/cgroup/memory/memory.stat": f"cache 0\nhierarchical_memory_limit {GIB}\ntotal_cache 0\n",
    }
    assert read_device(machine(tmp_path, files)).memory_bytes == GIB


@pytest.mark.parametrize("stat", ["", "cache 0\n", "hierarchical_memory_limit 9223372036854771712\n"])
def test_v1_statistics_without_a_limit_are_none(stat: str) -> None:
    assert parse_hierarchical_limit(stat) is None


def test_bare_machine_has_no_limit_but_its_own(tmp_path: Path) -> None:
    device = read_device(machine(tmp_path, {"proc/cpuinfo": ATOM}), affinity=2)
    assert (device.cores, device.memory_bytes) == (2, 24_683_520 * 1024)
    assert not device.fast_int8


def test_machine_without_proc_still_has_cores_and_memory(tmp_path: Path) -> None:
    device = read_device(tmp_path)
    assert device.cores >= 1
    assert device.memory_bytes > 0


def test_this_machine_can_be_read() -> None:
    device = read_device()
    assert device.cores >= 1
    assert device.memory_bytes > 2**20
