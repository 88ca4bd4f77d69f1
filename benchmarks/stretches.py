"""Stretches of steady load, with and without switches in; what they come to out. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.arrivals import Timed
from benchmarks.latency import quantile
from benchmarks.speech import Utterance

AFTER_S = 1.0
"""After a switch is done: what it held up may come out late."""

Texts = Mapping[tuple[str, Utterance], str]
"""What a variant makes of a recording, alone; by the variant's name."""


@dataclass(frozen=True, slots=True)
class Switch:
    """When it was ordered and when the order was answered, in seconds of the run."""

    to: str
    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s

    def meets(self, one: Timed) -> bool:
        """Whether any of the request's time is between the order and a little after it was done."""
        return one.due_s < self.end_s + AFTER_S and one.done_s > self.start_s


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was answered, and the switches meanwhile."""

    name: str
    answers: tuple[Timed, ...]
    switches: tuple[Switch, ...] = ()

    @property
    def answered(self) -> list[Timed]:
        return [one for one in self.answers if one.answered]

    @property
    def failures(self) -> Counter[str]:
        return Counter(one.answer.status for one in self.answers if not one.answered)

    @property
    def served(self) -> Counter[str]:
        """Answers by the variant that made them."""
        return Counter(one.answer.variant for one in self.answered)

    @property
    def in_switches(self) -> list[Timed]:
        return [one for one in self.answered if any(switch.meets(one) for switch in self.switches)]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of milliseconds from when requests were due to their answers."""

    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Switching:
    """Switches, and what was under way in them, its p99 also as multiples of that without switches.

    Attributes:
        by_slower: of the slower variant alone.
        by_all: of all stretches without switches.
        by_variant: of the same variant alone, for the answers of each.
    """

    switches: int
    median_s: float
    slowest_s: float
    under_way: Quantiles
    by_slower: float
    by_all: float
    by_variant: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figures:
    failures: Mapping[str, int]
    wrong_texts: int
    served: Mapping[str, int]
    all: Quantiles
    switching: Switching | None


def quantiles(answered: Sequence[Timed]) -> Quantiles:
    """Of at least one answer."""
    seconds = [one.seconds for one in answered]
    return Quantiles(len(seconds), *(1e3 * quantile(seconds, share) for share in (0.5, 0.95, 0.99)))


def pooled(found: Sequence[Stretch]) -> Iterator[Stretch]:
    """Stretches of the same name as one; there should be only one of each name with switches."""
    for name in dict.fromkeys(one.name for one in found):
        same = [one for one in found if one.name == name]
        yield Stretch(name, tuple(answer for one in same for answer in one.answers), same[0].switches)


def wrong(stretch: Stretch, texts: Texts) -> int:
    """How many texts are not what the variant that served makes of the recording alone."""
    answers = (one.answer for one in stretch.answered)
    return sum(texts.get((answer.variant, answer.utterance)) != answer.text for answer in answers)


def figures(found: Sequence[Stretch], texts: Texts, *, slower: str) -> dict[str, Figures]:
    """Of each, by name; `slower` is the variant whose stretches alone are the measure."""
    quiet = [one for stretch in found if not stretch.switches for one in stretch.answered]
    return {one.name: _figures(one, texts, quiet, slower=slower) for one in found}


def _figures(stretch: Stretch, texts: Texts, quiet: Sequence[Timed], *, slower: str) -> Figures:
    switching = _switching(stretch, quiet, slower) if stretch.switches else None
    return Figures(
        dict(stretch.failures), wrong(stretch, texts), dict(stretch.served), quantiles(stretch.answered), switching
    )


def _switching(stretch: Stretch, quiet: Sequence[Timed], slower: str) -> Switching:
    seconds, during = [one.seconds for one in stretch.switches], stretch.in_switches
    by_variant = {name: _ratio(_of(during, name), _of(quiet, name)) for name in stretch.served}
    return Switching(
        len(seconds),
        quantile(seconds, 0.5),
        max(seconds),
        quantiles(during),
        _ratio(during, _of(quiet, slower)),
        _ratio(during, quiet),
        by_variant,
    )


def _of(answers: Sequence[Timed], variant: str) -> list[Timed]:
    return [one for one in answers if one.answer.variant == variant]


def _ratio(during: Sequence[Timed], quiet: Sequence[Timed]) -> float:
    return quantiles(during).p99_ms / quantiles(quiet).p99_ms
