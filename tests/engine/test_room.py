import math
from dataclasses import replace

import pytest

from service.engine.device import Limit
from service.engine.gpu import CONTEXT_BYTES
from service.engine.plan import Costs
from service.engine.room import Occupant, Room, footprint, gpu_footprint, make_room, make_room_everywhere
from tests.engine.plans import COSTS

MB = 1_000_000
LIMIT = Limit(512 * MB, "WREN_MEMORY", chosen=True)
NONE = Limit(math.inf, "no limit")

OLD = Occupant("old", 100 * MB, idle_s=90)
NEW = Occupant("new", 100 * MB, idle_s=5)
KEPT = Occupant("kept", 100 * MB, idle_s=900, kept=True)
USED = Occupant("used", 100 * MB, leases=1)
SERVING = Occupant("serving", 100 * MB, idle_s=60, serving=True)
ALL = (USED, KEPT, NEW, SERVING, OLD)


@pytest.mark.parametrize(
    ("needed_mb", "evicted"),
    [
        (0, ()),
        (12, ()),
        (13, ("old",)),
        (112, ("old",)),
        (113, ("old", "new")),
        (212, ("old", "new")),
        (213, ("old", "new", "kept")),
        (312, ("old", "new", "kept")),
    ],
)
def test_the_least_lately_used_go_first_and_no_more_than_need_to(needed_mb: int, evicted: tuple[str, ...]) -> None:
    assert make_room(needed_mb * MB, ALL, used_bytes=500 * MB, limit=LIMIT) == Room(evicted)


def test_nothing_goes_in_vain_and_the_reason_has_the_figures() -> None:
    room = make_room(313 * MB, ALL, used_bytes=500 * MB, limit=LIMIT)
    told = "needs 313 MB more, 12 MB are left of 512 MB (WREN_MEMORY) and 300 MB could go"
    assert room == Room(short_bytes=MB, reason=told)


def test_what_is_in_use_or_serves_stays() -> None:
    room = make_room(150 * MB, (USED, SERVING), used_bytes=600 * MB, limit=LIMIT)
    told = "needs 150 MB more, 0 MB are left of 512 MB (WREN_MEMORY) and nothing may go for it"
    assert room == Room(short_bytes=238 * MB, reason=told)


def test_without_a_limit_nothing_goes() -> None:
    assert make_room(10**12, ALL, used_bytes=10**12, limit=NONE) == Room()


@pytest.mark.parametrize(("files_mb", "expected_mb"), [(40, 80), (90, 90)])
def test_what_was_measured_counts_without_what_any_server_needs(files_mb: int, expected_mb: int) -> None:
    base_bytes = COSTS.memory_bytes - 80 * MB
    assert footprint(files_mb * MB, COSTS, base_bytes) == expected_mb * MB


def test_what_was_not_measured_is_more_than_its_files() -> None:
    assert footprint(100 * MB, None, 10**9) == 150 * MB


GPU = Limit(CONTEXT_BYTES + 1000 * MB, "WREN_GPU_MEMORY", chosen=True)
ON_CPU = Occupant("on-cpu", 100 * MB, idle_s=900)
FIRST = Occupant("first", 50 * MB, idle_s=90, gpu_bytes=400 * MB)
SECOND = Occupant("second", 50 * MB, idle_s=5, gpu_bytes=500 * MB)


@pytest.mark.parametrize(
    ("needed_mb", "gpu_mb", "evicted"),
    [
        (0, 0, ()),
        (0, 100, ()),
        (0, 101, ("first",)),
        (0, 1000, ("first", "second")),
        (50, 0, ("on-cpu",)),
        (50, 101, ("on-cpu", "first")),
        (120, 101, ("on-cpu", "first")),
    ],
)
def test_each_kind_of_memory_is_made_room_in(needed_mb: int, gpu_mb: int, evicted: tuple[str, ...]) -> None:
    needed = needed_mb * MB, gpu_mb * MB
    occupants = (FIRST, SECOND, ON_CPU)
    found = make_room_everywhere(needed, occupants, used_bytes=500 * MB, limit=LIMIT, gpu_limit=GPU)
    assert found == Room(evicted)


def test_what_does_not_fit_a_gpu_sends_nothing_away() -> None:
    needed = 50 * MB, 1001 * MB
    room = make_room_everywhere(needed, (FIRST, ON_CPU), used_bytes=500 * MB, limit=LIMIT, gpu_limit=GPU)
    assert (room.evicted, room.short_bytes) == ((), MB)
    assert room.reason.startswith("needs 1001 MB more of GPU memory, 600 MB are left of 1537 MB (WREN_GPU_MEMORY)")
    assert make_room_everywhere((600 * MB, 0), (FIRST,), used_bytes=0, limit=LIMIT, gpu_limit=GPU).short_bytes


@pytest.mark.parametrize(
    ("costs", "on_gpu", "gpu_mb"),
    [
        (None, True, 150),
        (None, False, 0),
        (COSTS, True, 0),
        (replace(COSTS, gpu_bytes=CONTEXT_BYTES + 70 * MB), True, 70),
    ],
)
def test_of_a_gpu_a_variant_needs_what_was_measured(costs: Costs | None, on_gpu: bool, gpu_mb: int) -> None:
    assert gpu_footprint(100 * MB, costs, on_gpu=on_gpu) == gpu_mb * MB


def test_the_weights_of_what_computes_on_a_gpu_are_not_in_memory() -> None:
    on_gpu = replace(COSTS, gpu_bytes=CONTEXT_BYTES + 70 * MB)
    assert footprint(900 * MB, on_gpu, COSTS.memory_bytes - 80 * MB) == 80 * MB
