"""Search over recipes: the space, the samplers, the log and the front, with a judge that is made up."""

from pathlib import Path

import pytest

from model_store.compress import recipe as recipes
from model_store.compress.prune import Prune
from model_store.compress.recipe import Recipe
from model_store.errors import CompressionError, RecipeError
from model_store.search.samplers import Sampler
from model_store.search.search import Budget, front, search
from model_store.search.space import Space, read
from model_store.search.trials import Trial

TEXT = """
objectives = ["wer", "bytes"]

[recipe]
precision = "fp32"
steps = [{step = "prune", share = 0.3}]

[vary]
"steps.0.share" = {low = 0.1, high = 0.5, step = 0.1}
"steps.0.scope" = ["row", "matrix"]
"""


def space(tmp_path: Path, text: str = TEXT) -> Space:
    (tmp_path / "space.toml").write_text(text)
    return read(tmp_path / "space.toml")


class Judge:
    """The more is pruned the smaller and the worse, by rows worse than by matrices; remembers what it was asked."""

    def __init__(self, stops_at: int = -1) -> None:
        self.asked: list[float] = []
        self.stops_at = stops_at

    def __call__(self, recipe: Recipe) -> dict[str, float]:
        (step,) = recipe.steps
        assert isinstance(step, Prune)
        if len(self.asked) == self.stops_at:
            raise KeyboardInterrupt
        self.asked.append(step.share)
        if step.share > 0.45:
            raise CompressionError("prune", "nothing would be left")
        return {"wer": 5 + 10 * step.share + (step.scope == "row"), "bytes": 100 * (1 - step.share), "load_ms": 1.0}


def run(given: Space, folder: Path, judge: Judge, sampler: Sampler = "grid", trials: int = 100) -> tuple[Trial, ...]:
    return search(given, judge, folder, Budget(trials), sampler=sampler, seed=4)


def test_a_grid_tries_every_point_and_keeps_the_front(tmp_path: Path) -> None:
    given = space(tmp_path)
    trials = run(given, tmp_path / "out", Judge())
    assert len(trials) == 10
    assert [one.reason != "" for one in trials] == [False] * 8 + [True] * 2
    assert "nothing would be left" in trials[-1].reason
    kept = front(given, trials)
    assert [one.values["steps.0.share"] for one in kept] == [0.1, 0.2, 0.3, 0.4]
    assert {one.values["steps.0.scope"] for one in kept} == {"matrix"}


def test_the_fronts_recipes_are_ready_to_be_carried_out(tmp_path: Path) -> None:
    given = space(tmp_path)
    trials = run(given, tmp_path / "out", Judge())
    files = sorted((tmp_path / "out").glob("trial-*.toml"))
    assert len(files) == 4
    for path in files:
        found = recipes.find(str(path))
        assert found.name == path.stem
        (step,) = found.steps
        assert isinstance(step, Prune)
        assert step.share == trials[int(path.stem.removeprefix("trial-"))].values["steps.0.share"]


@pytest.mark.parametrize("sampler", ["grid", "random", "bayes"])
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path, sampler: Sampler) -> None:
    whole = run(space(tmp_path), tmp_path / "whole", Judge(), sampler, 10)
    with pytest.raises(KeyboardInterrupt):
        run(space(tmp_path), tmp_path / "stopped", Judge(stops_at=4), sampler, 10)
    log = tmp_path / "stopped" / "trials.jsonl"
    log.write_bytes(log.read_bytes() + b'{"number": 4, "val')
    judge = Judge()
    again = run(space(tmp_path), tmp_path / "stopped", judge, sampler, 10)
    assert [one.values for one in again] == [one.values for one in whole]
    assert [one.objectives for one in again] == [one.objectives for one in whole]
    assert len(judge.asked) < 10


def test_what_was_tried_is_not_tried_again(tmp_path: Path) -> None:
    judge = Judge()
    trials = run(space(tmp_path), tmp_path / "out", judge, "random", 30)
    assert len(trials) == 30
    assert len(judge.asked) <= 10


def test_bayes_looks_where_it_was_good(tmp_path: Path) -> None:
    text = TEXT.replace("step = 0.1}", "log = false}").replace('["wer", "bytes"]', '["wer"]')
    found = {}
    for sampler in ("random", "bayes"):
        trials = run(space(tmp_path, text), tmp_path / sampler, Judge(), sampler, 40)
        found[sampler] = sorted(one.objectives["wer"] for one in trials if not one.reason)[20]
    assert found["bayes"] < found["random"]


def test_a_budget_of_no_minutes_begins_nothing(tmp_path: Path) -> None:
    judge = Judge()
    assert search(space(tmp_path), judge, tmp_path / "out", Budget(5, minutes=0)) == ()
    assert not judge.asked


def test_another_searchs_folder_is_left_alone(tmp_path: Path) -> None:
    run(space(tmp_path), tmp_path / "out", Judge(), "grid", 2)
    with pytest.raises(RecipeError, match="another search"):
        run(space(tmp_path, TEXT.replace("0.5", "0.6")), tmp_path / "out", Judge(), "grid", 2)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("steps.0.share", "steps.0.shares", "shares"),
        ("steps.0.share", "steps.3.share", "no 3 there"),
        ("low = 0.1", "low = 0.9", "low must be below high"),
        ("high = 0.5", "high = 5.0", "share"),
        ('["wer", "bytes"]', '["beauty"]', "objectives"),
        ("[recipe]", 'recipe = "none"\n[other]', "other"),
        ("[vary]", "[vary", "cannot be read"),
    ],
)
def test_what_is_no_space_is_told_before_the_first_trial(tmp_path: Path, before: str, after: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        space(tmp_path, TEXT.replace(before, after))


def test_a_grid_needs_steps_and_an_end(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs a step"):
        run(space(tmp_path, TEXT.replace(", step = 0.1", "")), tmp_path / "out", Judge())
    with pytest.raises(RecipeError, match="more than 1000"):
        run(space(tmp_path, TEXT.replace("step = 0.1", "step = 0.0001")), tmp_path / "more", Judge())


def test_a_shipped_recipe_may_be_varied(tmp_path: Path) -> None:
    text = 'recipe = "pruned30-int8"\n[vary]\n"steps.0.share" = [0.1, 0.2]\n'
    assert [one["steps.0.share"] for one in space(tmp_path, text).grid()] == [0.1, 0.2]
    with pytest.raises(RecipeError, match="no such recipe"):
        space(tmp_path, text.replace("pruned30-int8", "nothing"))
