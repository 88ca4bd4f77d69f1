import math

import pytest

from service.engine.device import Limit
from service.engine.room import Occupant, Room, footprint, make_room
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
