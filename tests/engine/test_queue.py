import random
from collections import Counter
from dataclasses import dataclass
from itertools import islice

import pytest

from service.engine.queue import LAG_S, PATIENCE, WEIGHTS, FairQueue, Place, due
from service.engine.types import Priority

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Item:
    """Equal to others of the same name: only identity tells them apart."""

    client: str
    cost_s: float


class Line:
    """A queue of items that remember their place."""

    def __init__(self) -> None:
        self.queue = FairQueue[Item]()
        self.places: dict[int, Place] = {}

    def push(
        self, client: str, cost_s: float, *, due_s: float = 0.0, priority: Priority = "interactive", count: int = 1
    ) -> list[Item]:
        items = [Item(client, cost_s) for _ in range(count)]
        for item in items:
            self.places[id(item)] = Place(client, priority, due_s, cost_s)
            self.queue.push(item, self.places[id(item)])
        return items

    def serve(self) -> Item:
        (item,) = self.queue.candidates(1)
        self.queue.take(item)
        return item

    def serve_all(self) -> list[Item]:
        return [self.serve() for _ in range(len(self.queue))]

    def served_s(self, turns: int) -> Counter[str]:
        seconds: Counter[str] = Counter()
        for _ in range(turns):
            item = self.serve()
            seconds[item.client] += item.cost_s  # type: ignore[assignment]  # Counter is typed for whole numbers
        return seconds


def same(left: list[Item], right: list[Item]) -> bool:
    return [id(item) for item in left] == [id(item) for item in right]


def test_an_empty_queue_offers_nothing() -> None:
    queue = FairQueue[Item]()
    assert queue.candidates(5) == []
    assert len(queue) == 0


@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 3, 4])
def test_candidates_are_no_more_than_asked_for(limit: int) -> None:
    line = Line()
    items = line.push("a", 3, count=3)
    assert same(line.queue.candidates(limit), items[: max(0, limit)])
    assert len(line.queue) == 3


def test_items_are_told_apart_by_identity() -> None:
    line = Line()
    first, second = line.push("a", 3, count=2)
    assert first == second
    line.queue.take(second)
    assert line.queue.candidates(2)[0] is first


def test_an_item_waits_once() -> None:
    line = Line()
    (item,) = line.push("a", 3)
    with pytest.raises(ValueError, match="waits already"):
        line.queue.push(item, line.places[id(item)])


def test_what_does_not_wait_cannot_be_taken() -> None:
    line = Line()
    (item,) = line.push("a", 3)
    line.queue.take(item)
    with pytest.raises(KeyError):
        line.queue.take(item)


def test_windows_of_a_request_keep_their_order() -> None:
    line = Line()
    windows = line.push("a", 9, due_s=50, count=20)
    assert same(line.serve_all(), windows)


def test_a_clip_overtakes_a_file_of_the_same_client() -> None:
    line = Line()
    file = line.push("a", 9, due_s=due(0, 1800), count=200)
    clip = line.push("a", 3, due_s=due(10, 3))
    assert same(line.serve_all(), clip + file)


def test_a_file_that_has_waited_its_own_length_is_not_overtaken() -> None:
    file_s = 600.0
    line = Line()
    file = line.push("a", 9, due_s=due(0, file_s))
    line.push("a", 3, due_s=due(PATIENCE * file_s + 1, 3), count=50)
    assert line.serve() is file[0]


def test_a_long_file_does_not_starve_under_clips_without_end() -> None:
    """One client sends a clip whenever one is served; its file's turn comes once it has waited its length."""
    line, file_s = Line(), 60.0
    (file,) = line.push("a", 9, due_s=due(0, file_s))
    for now in range(200):
        line.push("a", 3, due_s=due(now, 3))
        if line.serve() is file:
            assert now <= PATIENCE * file_s + 1
            return
    pytest.fail("the file never had its turn")


def test_a_deadline_puts_forward_and_never_back() -> None:
    assert due(100, 30) == 100 + PATIENCE * 30
    assert due(100, 30, 2) == 102
    assert due(100, 30, 500) == due(100, 30)


@pytest.mark.parametrize("flood", [1, 10, 1000])
def test_a_flooding_client_does_not_delay_the_clip_of_another(flood: int) -> None:
    line = Line()
    line.push("flood", 9, due_s=0, count=flood + 5)
    for _ in range(5):
        line.serve()
    (clip,) = line.push("other", 3, due_s=1e6)
    assert line.serve() is clip


def test_a_flood_of_batch_clients_does_not_delay_one_who_waits() -> None:
    line = Line()
    for number in range(500):
        line.push(f"batch {number}", 9, priority="batch")
    for served in range(400):
        if served % 20 == 0:
            (clip,) = line.push(f"interactive {served}", 3, due_s=1e6)
            assert line.serve() is clip
        line.serve()


@pytest.mark.parametrize("seed", range(5))
def test_clients_share_equally_whatever_their_windows(seed: int) -> None:
    draw = random.Random(seed)
    line = Line()
    for client in "abcde":
        longest = draw.uniform(3, 30)
        for _ in range(400):
            line.push(client, draw.uniform(0.5, longest), due_s=draw.uniform(0, 1000))
    seconds = line.served_s(500)
    assert max(seconds.values()) - min(seconds.values()) <= 2 * 30


def test_a_batch_flow_gets_its_share_under_constant_interactive_load() -> None:
    line = Line()
    line.push("patient", 9, priority="batch", count=200)
    seconds: Counter[str] = Counter()
    for _ in range(900):
        line.push("eager", 9)
        seconds += line.served_s(1)
    share = WEIGHTS["batch"] / (WEIGHTS["batch"] + WEIGHTS["interactive"])
    assert seconds["patient"] == pytest.approx(share * seconds.total(), rel=0.02)


@pytest.mark.parametrize("priority", ["interactive", "batch"])
def test_clients_with_ever_new_names_starve_nobody(priority: Priority) -> None:
    line = Line()
    line.push("patient", 9, priority=priority, count=600)
    waiting = 4
    seconds: Counter[str] = Counter()
    names = (f"new {number}" for number in range(5000))
    for name in islice(names, waiting):
        line.push(name, 9)
    for _ in range(2000):
        served = line.served_s(1)
        seconds += served
        if "patient" not in served:
            line.push(next(names), 9)
    weight, others = WEIGHTS[priority], WEIGHTS["interactive"] * waiting
    fair = weight / (weight + others)
    assert seconds["patient"] / seconds.total() >= 0.8 * fair


def test_one_client_asking_both_ways_has_two_flows() -> None:
    line = Line()
    slow = line.push("a", 9, priority="batch", count=10)
    line.serve()
    fast = line.push("a", 9, due_s=1e6, count=8)
    assert same([line.serve() for _ in fast], fast)
    assert line.serve() is slow[1]


def test_idleness_saves_up_nothing() -> None:
    """One that comes back after long gets its equal share from then on, not what it left out."""
    line = Line()
    line.push("idle", 9)
    line.push("busy", 9, count=500)
    line.served_s(200)
    line.push("idle", 9, count=100)
    seconds = line.served_s(50)
    assert abs(seconds["idle"] - seconds["busy"]) <= 9


def test_coming_and_going_gains_nothing() -> None:
    """A client that has one item at a time waits for what it had while another has waited."""
    line = Line()
    line.push("steady", 9, count=300)
    seconds: Counter[str] = Counter()
    waits = False
    for _ in range(200):
        if not waits:
            line.push("hopping", 9)
        served = line.served_s(1)
        waits = "hopping" not in served
        seconds += served
    assert abs(seconds["hopping"] - seconds["steady"]) <= 2 * 9


@pytest.mark.parametrize("seed", range(10))
def test_candidates_foretell_the_order_of_serving(seed: int) -> None:
    draw = random.Random(seed)
    line = Line()
    for _ in range(120):
        priority: Priority = draw.choice(["interactive", "batch"])
        line.push(draw.choice("abcdef"), draw.uniform(0.1, 30), due_s=draw.uniform(0, 50), priority=priority)
        if draw.random() < 0.4:
            line.serve()
    foretold = line.queue.candidates(len(line.queue))
    assert same(foretold[:7], line.queue.candidates(7))
    assert same(foretold, line.serve_all())


def test_discard_removes_at_once_what_is_gone_and_nothing_else() -> None:
    line = Line()
    line.push("stays", 9, count=3)
    left = line.push("left", 9, count=4)
    lost = line.queue.discard(lambda item: item.client == "left")
    assert same(lost, left)
    assert len(line.queue) == 3
    assert {item.client for item in line.serve_all()} == {"stays"}
    assert line.queue.discard(lambda _: True) == []


def test_what_is_discarded_is_not_charged() -> None:
    line = Line()
    line.push("a", 9, count=2)
    line.push("b", 9, count=2)
    line.served_s(2)
    discarded = line.push("a", 30, count=50)
    line.queue.discard(lambda item: any(item is other for other in discarded))
    assert [line.serve().client for _ in range(2)] == ["a", "b"]


@pytest.mark.parametrize("seed", range(5))
def test_what_waits_is_known_after_any_coming_and_going(seed: int) -> None:
    draw = random.Random(seed)
    line = Line()
    waiting: list[Item] = []
    for _ in range(5000):
        if not waiting or draw.random() < 0.52:
            client, priority = draw.choice("abcdefgh"), draw.choice(list(WEIGHTS))
            waiting += line.push(client, draw.uniform(0.01, 30), due_s=draw.uniform(0, 9), priority=priority)
        elif draw.random() < 0.05:
            client = draw.choice("abcdefgh")
            lost = line.queue.discard(lambda item, client=client: item.client == client)  # type: ignore[misc]
            waiting = [item for item in waiting if all(item is not other for other in lost)]
        else:  # not always whose turn it is: a batch is formed of what fits together
            taken = draw.choice(line.queue.candidates(4))
            line.queue.take(taken)
            waiting = [item for item in waiting if item is not taken]
        assert len(line.queue) == len(waiting)
        assert len(line.queue.candidates(9999)) == len(waiting)
    line.serve_all()
    assert len(line.queue) == 0


@pytest.mark.parametrize("seed", range(5))
def test_flows_are_charged_for_what_was_taken_to_the_last_bit(seed: int) -> None:
    """While both have items, the difference in what two equals were given is what their virtual times differ by."""
    draw = random.Random(seed)
    line = Line()
    given = {"a": 0.0, "b": 0.0}
    for client in given:
        for _ in range(300):
            line.push(client, draw.uniform(0.1, 30))
    for _ in range(250):
        expected = min(given, key=lambda client: given[client])
        if abs(given["a"] - given["b"]) > TOLERANCE:
            assert line.queue.candidates(1)[0].client == expected
        item = line.serve()
        given[item.client] += item.cost_s


def test_flows_without_items_are_forgotten() -> None:
    line = Line()
    for number in range(1000):
        line.push(f"once {number}", 3)
    line.serve_all()
    assert _remembered(line.queue) == 0


def test_flows_without_items_are_forgotten_while_others_wait() -> None:
    """A stream of clients that come once, beside one that never ends: what is kept stays level."""
    line = Line()
    line.push("endless", 9, count=2000)
    kept = []
    for number in range(4000):
        line.push(f"once {number}", 3)
        line.serve()
        kept.append(_remembered(line.queue) - len(line.queue))
    assert max(kept[2000:]) <= max(kept[:2000])
    line.queue.discard(lambda _: True)
    assert _remembered(line.queue) == 0


def _remembered(queue: FairQueue[Item]) -> int:
    return len(queue._flows) + len(queue._owing_s) + len(queue._turns) + len(queue._entries)


def test_the_lag_is_a_window_of_the_least_weight() -> None:
    assert LAG_S == 30


def test_who_speaks_goes_first_then_interims_then_who_waits_then_batches() -> None:
    line, order = Line(), ("live", "interim", "interactive", "batch")
    assert list(WEIGHTS) == [*order, "background"]
    for priority in reversed(order):
        line.push(f"somebody {priority}", 3, priority=priority)
        line.push("one client", 3, priority=priority)
    taken = [line.places[id(item)].priority for item in line.serve_all()]
    assert taken == [priority for priority in order for _ in range(2)]


@pytest.mark.parametrize("speakers", [1, 4])
@pytest.mark.parametrize("priority", ["interim", "interactive", "batch"])
def test_constant_live_load_leaves_the_others_their_share(priority: Priority, speakers: int) -> None:
    """Segments come as fast as they are served; a file is longer than the test."""
    line, turns = Line(), 3000
    line.push("file", 9, priority=priority, count=turns)
    for speaker in range(speakers):
        line.push(f"speaker {speaker}", 6, priority="live")
    seconds: Counter[str] = Counter()
    for _ in range(turns):
        item = line.serve()
        seconds[item.client] += item.cost_s  # type: ignore[assignment]  # Counter is typed for whole numbers
        if item.client != "file":
            line.push(item.client, 6, priority="live")
    weight = WEIGHTS[priority]
    share = weight / (weight + speakers * WEIGHTS["live"])
    assert seconds["file"] / sum(seconds.values()) == pytest.approx(share, rel=0.1, abs=0.002)
    given = [seconds[f"speaker {speaker}"] for speaker in range(speakers)]
    assert max(given) - min(given) <= 6


def test_a_speaker_that_was_silent_goes_before_a_file_at_once() -> None:
    line = Line()
    line.push("file", 9, count=100)
    for _ in range(10):
        line.serve()
    segments = line.push("speaker", 6, priority="live", count=3)
    assert same(line.queue.candidates(3), segments)
