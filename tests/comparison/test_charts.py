import itertools

from model_store.comparison.charts import PLOT, Chart, charts
from model_store.comparison.rows import compare
from model_store.manifest import Manifest
from tests.comparison.variants import evaluation, variant

TINY = (
    variant("tiny:fp32", 200, evaluation(5.0, 10)),
    variant("tiny:fp16", 100, evaluation(5.1, 9)),
    variant("tiny:int8", 50, evaluation(5.2, 30)),
    variant("tiny:int4", 25, evaluation(7.0, 20)),
)


def drawn(*manifests: Manifest) -> tuple[Chart, Chart]:
    size, speed = charts(compare(manifests).groups[0])
    return size, speed


def test_each_chart_has_the_front_of_its_own_measures() -> None:
    size, speed = drawn(*TINY)
    assert [mark.on_front for mark in size.marks] == [True, True, True, True]
    assert [mark.on_front for mark in speed.marks] == [True, False, True, False]
    assert "On the front: fp32, int8." in speed.description


def test_less_is_left_and_better_is_down() -> None:
    size, speed = drawn(*TINY)
    assert [mark.x for mark in size.marks] == sorted((mark.x for mark in size.marks), reverse=True)
    assert [mark.y for mark in size.marks] == sorted((mark.y for mark in size.marks), reverse=True)
    assert max(speed.marks, key=lambda mark: mark.x).tooltip.startswith("tiny:int8: 50.0 MB, WER 5.20 %")


def test_front_goes_in_steps_through_its_marks() -> None:
    size, speed = drawn(*TINY)
    for chart, end in ((size, PLOT.right), (speed, PLOT.left)):
        assert {(mark.x, mark.y) for mark in chart.marks if mark.on_front} <= set(chart.front)
        assert (chart.front[0][1], chart.front[-1][0]) == (PLOT.top, end)
        assert all(one[0] == other[0] or one[1] == other[1] for one, other in itertools.pairwise(chart.front))


def test_ruined_variant_is_marked_at_the_edge_with_its_figure() -> None:
    size, _ = drawn(*TINY, variant("tiny:ruined", 20, evaluation(87.0)))
    (ruined,) = (mark for mark in size.marks if mark.beyond)
    assert ruined.y == PLOT.top
    assert "ruined 87 %" in {label.text for label in size.labels}


def test_marks_lie_within_the_plot_and_small_charts_label_all_of_them() -> None:
    for chart in drawn(*TINY):
        assert all(PLOT.left <= mark.x <= PLOT.right and PLOT.top <= mark.y <= PLOT.bottom for mark in chart.marks)
        assert sorted(label.text for label in chart.labels) == ["fp16", "fp32", "int4", "int8"]


def test_models_have_a_shape_each_where_they_are_together() -> None:
    manifests = (*TINY, variant("base:fp32", 300, evaluation(4.0, 5)))
    comparison = compare(manifests)
    size, _ = charts(comparison.groups[-1])
    assert size.legend == (("base", "circle"), ("tiny", "square"))
    assert {mark.shape for mark in size.marks} == {"circle", "square"}


def test_one_variant_is_no_chart() -> None:
    assert charts(compare([TINY[0], variant("tiny:int8")]).groups[0]) == ()


def test_what_cannot_be_on_an_axis_is_left_out() -> None:
    (size,) = charts(compare([TINY[0], TINY[1].model_copy(update={"evaluations": (evaluation(5.0, 0.0),)})]).groups[0])
    assert len(size.marks) == 2
