"""The loop, on a problem that is solved on a sheet of paper: a line through points."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model_store.train.loop import train
from model_store.train.settings import Optimisation
from model_store.train.studio import Told

SETTINGS = Optimisation(steps=60, batch_s=8, rows=8, peak=0.2, precision="fp32", checkpoint_every=10)


@dataclass
class Line:
    """y = 3 x + 1, by its slope and its height."""

    parameters: dict[str, Tensor] = field(default_factory=lambda: {"slope": torch.zeros(1), "height": torch.zeros(1)})
    lengths: Sequence[float] = (1.0,) * 32
    asked: int = 0
    stops_at: int = -1

    def weight(self, example: int) -> float:
        return 1 + example % 3

    def loss(self, examples: Sequence[int]) -> Tensor:
        self.asked += 1
        if self.asked == self.stops_at:
            raise KeyboardInterrupt
        x = torch.tensor([one / 16 - 1 for one in examples])
        counted = torch.tensor([self.weight(one) for one in examples])
        found = self.parameters["slope"] * x + self.parameters["height"]
        return (counted * (found - 3 * x - 1).square()).sum()

    @property
    def found(self) -> tuple[float, float]:
        return self.parameters["slope"].item(), self.parameters["height"].item()


def run(
    line: Line,
    path: Path,
    settings: Optimisation = SETTINGS,
    *,
    digest: str = "line",
    held_out: Callable[[], float] | None = None,
) -> list[Told]:
    told: list[Told] = []
    train(line, settings, seed=3, digest=digest, path=path, held_out=held_out, watch=told.append)
    return told


def test_the_line_is_found(tmp_path: Path) -> None:
    line = Line()
    told = run(line, tmp_path / "checkpoint")
    assert line.found == pytest.approx((3, 1), abs=0.2)
    assert told[-1].step == told[-1].steps == 60
    assert told[-1].loss < 0.02 < 1 < told[0].loss


def test_two_runs_are_the_same(tmp_path: Path) -> None:
    one, other = Line(), Line()
    assert run(one, tmp_path / "one") == run(other, tmp_path / "other")
    assert one.found == other.found


@pytest.mark.parametrize("moment", [1, 10, 11, 37])
def test_a_run_that_was_killed_goes_on_to_the_same_end(tmp_path: Path, moment: int) -> None:
    whole = Line()
    run(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(Line(stops_at=moment), tmp_path / "killed")
    again = Line()
    run(again, tmp_path / "killed")
    assert again.found == whole.found
    assert again.asked == 60 - (moment - 1) // 10 * 10


def test_a_checkpoint_of_something_else_is_left_alone(tmp_path: Path) -> None:
    run(Line(), tmp_path / "checkpoint")
    other = Line()
    run(other, tmp_path / "checkpoint", digest="another")
    assert other.asked == 60


def test_a_broken_checkpoint_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    run(Line(), path)
    path.write_bytes(path.read_bytes()[:100])
    other = Line()
    run(other, path)
    assert other.asked == 60


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    """A whole epoch a step: in one batch, or in four."""
    whole, parts = Line(), Line()
    run(whole, tmp_path / "whole", SETTINGS.model_copy(update={"batch_s": 32, "rows": 32}))
    run(parts, tmp_path / "parts", SETTINGS.model_copy(update={"accumulate": 4}))
    assert parts.found == pytest.approx(whole.found, abs=1e-5)
    assert parts.asked == 4 * whole.asked


def test_it_stops_where_the_held_out_error_gets_no_better_and_keeps_the_best(tmp_path: Path) -> None:
    line = Line()
    seen: list[tuple[float, float]] = []

    def held_out() -> float:
        seen.append(line.found)
        return [9.0, 5.0, 7.0, 6.0, 8.0][len(seen) - 1]

    settings = SETTINGS.model_copy(update={"validate_every": 5, "patience": 3})
    told = run(line, tmp_path / "checkpoint", settings, held_out=held_out)
    assert told[-1].step == 25
    assert [one.held_out for one in told if one.held_out is not None] == [9, 5, 7, 6, 8]
    assert line.found == seen[1]


def test_a_run_that_stopped_early_is_not_gone_on_with(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"validate_every": 5, "patience": 1})
    errors = iter([5.0, 6.0, 0.0])
    run(line := Line(), tmp_path / "checkpoint", settings, held_out=lambda: next(errors))
    assert run(again := Line(), tmp_path / "checkpoint", settings, held_out=lambda: next(errors)) == []
    assert again.found == line.found


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    alone = Line()
    run(alone, tmp_path / "alone")
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = Path(__file__).parents[2]
    told = subprocess.run(
        [*launched, "-m", "tests.train.company", str(tmp_path / "together")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    lines = [[float(one) for one in line.split()] for line in told.stdout.splitlines()]
    assert len(lines) == 2
    for found in lines:
        assert found == pytest.approx(alone.found, abs=1e-4)
