import itertools
import random

from model_store.comparison.labels import Box, Wanted, around, placed

FRAME = Box(0, 0, 400, 300)


def test_label_alone_stands_right_of_its_mark() -> None:
    (label,) = placed([Wanted("int8", 200, 150)], FRAME, [around(200, 150)])
    assert label.box.left > 200
    assert not label.leader


def test_label_at_the_edge_turns_inwards() -> None:
    (label,) = placed([Wanted("a long name", 395, 150)], FRAME, [around(395, 150)])
    assert label.box.within(FRAME)
    assert label.box.right < 395


def test_labels_overlap_neither_each_other_nor_marks() -> None:
    draw = random.Random(1)
    for count in range(1, 40):
        wanted = [
            Wanted("variant" * draw.randint(1, 3), draw.gauss(200, 40), draw.gauss(150, 40)) for _ in range(count)
        ]
        marks = [around(one.x, one.y) for one in wanted]
        labels = placed(wanted, FRAME, marks)
        boxes = [label.box for label in labels]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        assert not any(box.overlaps(mark) for box in boxes for mark in marks)
        assert all(box.within(FRAME) for box in boxes)


def test_what_finds_no_place_is_dropped_and_the_first_has_the_choice() -> None:
    crowd = [Wanted(f"variant {number}", 40, 10) for number in range(30)]
    labels = placed(crowd, Box(0, 0, 120, 40), [around(40, 10)])
    assert [label.text for label in labels] == ["variant 0", *(label.text for label in labels[1:])]
    assert 1 <= len(labels) < 5


def test_label_keeps_clear_of_a_line_unless_it_would_have_to_go_far() -> None:
    wanted, mark = Wanted("int8", 200, 150), around(200, 150)
    rightwards = Box(200, 150, 400, 150)
    (label,) = placed([wanted], FRAME, [mark], [rightwards])
    assert not label.box.overlaps(rightwards)
    everywhere = [Box(0, y, 400, y) for y in range(0, 300, 5)]
    assert placed([wanted], FRAME, [mark], everywhere) == placed([wanted], FRAME, [mark])
