import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import add, contents

from model_store.errors import StoreUnwritable
from model_store.registry import Registry

HERE = Path(__file__).parent


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """In memory where there is such a place: the flushes would wait for a disk, and a kill loses no page cache."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made)


OLD = [("tiny:fp32", 3, 2, [1], 0), ("tiny:int4", 7, 1, [], 0), ("tiny:int8", 3, 2, [1], 0)]
"""Name, bytes, version, earlier versions, evaluations."""


@pytest.mark.parametrize(
    ("change", "new", "steps"),
    [
        ("pulled", [("tiny:fp32", 5, 3, [1, 2], 0), OLD[1], ("tiny:int8", 5, 3, [1, 2], 0)], 60),
        ("rolled_back", [("tiny:fp32", 1, 1, [2], 0), *OLD[1:]], 40),
        ("recorded", [("tiny:fp32", 3, 2, [1], 1), *OLD[1:]], 10),
        ("imported", [("tiny:fp32", 14, 3, [1, 2], 0), *OLD[1:]], 40),
        ("removed", OLD[1:], 10),
    ],
)
def test_a_change_killed_at_any_point_leaves_the_old_store_or_the_new_one(
    quick_folder: Path, change: str, new: list[object], steps: int
) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "crash_points.py"), str(quick_folder), change],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = Counter(done.stdout.splitlines())
    assert set(found) == {f"{OLD} 0 0", f"{new} 0 0"}, found
    assert found.total() > steps, "the change has fewer steps than thought: what is counted?"


def test_an_error_while_preparing_a_change_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path)
    was = contents(registry.root)

    def prepare_half() -> None:
        with registry.stage("tiny") as stage:
            (stage.make("built") / "half").write_text("a file")
            raise RuntimeError("thought better of it")

    with pytest.raises(RuntimeError, match="thought better"):
        prepare_half()
    assert contents(registry.root) == was


def test_a_store_on_a_read_only_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match="/proc"), Registry(Path("/proc/store")).stage("tiny"):
        pass
