"""What does a larger model gain that hears again what a small one is unsure of, and what does it cost?

python -m benchmarks.cascade --data DIR [--pairs SMALL,LARGE … --kept DIR]

Both variants hear every window, cut for the small one, in turn. Then each window is decided as the engine decides, and
by other bounds; of the larger one's time that of the windows that it would have heard is counted. --kept DIR keeps what
was heard, and what is kept is not computed again. English alone.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import options, report
from benchmarks.local import variant
from benchmarks.outcomes import Listener, Outcome, Outcomes
from benchmarks.speech import POOLED, Scored, Utterance, score, wer
from model_store.evaluate import bootstrap
from model_store.registry import Registry
from service.engine.cascade import AS_SURE, SURE, better, doubt
from service.recognition import families

PAIRS = (
    "whisper-tiny.en:int8,whisper-base:int8",
    "whisper-tiny.en:int4,whisper-base:int8",
    "whisper-tiny.en:pruned30-int8,whisper-tiny.en:fp32",
    "whisper-tiny.en:shrunk-int8,whisper-base:int8",
    "whisper-tiny.en:shrunk-int8,whisper-tiny.en:int8",
    "moonshine-tiny:int8,whisper-base:int8",
)

HARDER = (
    *("an4", "speechocean762", "speeches", "misc_short", "vctk_demand"),
    *("picovoice", "spontaneous", "sonnets", "fleurs"),
)
"""Sets that are not judged: spelled words, accents, noise."""


Figures = dict[str, dict[str, float]]
"""By rule and column."""

Pairs = Sequence[tuple[str, ...]]
"""Names of variants: the small one, the large one."""


@dataclass(frozen=True)
class Rule:
    """Windows that are less than `sure` are heard again; the second text is taken if it is as sure as that, or so."""

    name: str
    sure: float
    as_sure: float = AS_SURE


RULES = (
    Rule("small alone", 0.0),
    *(Rule(f"under {sure:g}", sure) for sure in (0.6, 0.7, 0.75, SURE, 0.85, 0.9)),
    Rule(f"under {SURE:g}, the larger one's always", SURE, 0.0),
    Rule(f"under {SURE:g}, the surer one's", SURE, 1.0),
    Rule("all, the surer one's", 2.0, 1.0),
)


@dataclass(frozen=True)
class Cascaded:
    """A recording as a rule has it: how it is scored, its windows, those heard again, those taken, seconds."""

    scored: Scored
    windows: int
    again: int
    taken: int
    seconds: float


def cascaded(u: Utterance, small: Sequence[Outcome], large: Sequence[Outcome], rule: Rule) -> Cascaded:
    text, again, taken, seconds = "", 0, 0, 0.0
    for first, second in zip(small, large, strict=True):
        doubtful = rule.sure > 0 and doubt(first.segments, sure=rule.sure) is not None
        chosen = doubtful and better(first.segments, second.segments, as_sure=rule.as_sure).yes
        again, taken = again + doubtful, taken + chosen
        seconds += first.seconds + (second.seconds if doubtful else 0.0)
        text += second.text if chosen else first.text
    return Cascaded(score(u, text), len(small), again, taken, seconds)


def alone(u: Utterance, large: Sequence[Outcome]) -> Cascaded:
    text, seconds = "".join(one.text for one in large), sum(one.seconds for one in large)
    return Cascaded(score(u, text), len(large), 0, 0, seconds)


def row(found: Sequence[Cascaded], small: Sequence[Cascaded], large: Sequence[Cascaded]) -> dict[str, float]:
    windows, scored = sum(one.windows for one in found), [one.scored for one in found]
    over = bootstrap.growth(scored, [one.scored for one in small])
    return {
        "WER": wer(scored),
        "over small": over.points,
        "from": over.low,
        "to": over.high,
        "again, %": 100 * sum(one.again for one in found) / windows,
        "taken, %": 100 * sum(one.taken for one in found) / windows,
        "x small's time": sum(one.seconds for one in found) / sum(one.seconds for one in small),
        "% of large's": 100 * sum(one.seconds for one in found) / sum(one.seconds for one in large),
    }


def rows(utterances: Sequence[Utterance], small: Outcomes, large: Outcomes) -> Figures:
    """Every rule, then the large variant alone."""
    ruled = {rule.name: [cascaded(u, small[u.name], large[u.name], rule) for u in utterances] for rule in RULES}
    baseline, largest = ruled["small alone"], [alone(u, large[u.name]) for u in utterances]
    return {name: row(found, baseline, largest) for name, found in (ruled | {"large alone": largest}).items()}


def grouped(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    read = [u for u in utterances if u.set_name in POOLED]
    harder = [u for u in utterances if u.set_name not in POOLED]
    return {"pooled": read, "harder": harder, "all": list(utterances)} if read and harder else {"all": read or harder}


def target_s(asked: argparse.Namespace, name: str) -> float:
    """What the engine would pack the small variant's windows to."""
    return families.load(Registry(asked.store).path(variant(asked.store, name))).target_window_s


def heard(asked: argparse.Namespace, pairs: Pairs, utterances: Sequence[Utterance]) -> dict[float, dict[str, Outcomes]]:
    """What each variant of a pair makes of the windows, by the length that those are packed to."""
    names: dict[float, list[str]] = defaultdict(list)
    for pair in pairs:
        names[target_s(asked, pair[0])] += pair
    listener = Listener(asked, utterances, asked.kept)
    return {packed_s: listener.outcomes([*dict.fromkeys(of)], target_s=packed_s) for packed_s, of in names.items()}


def main() -> None:
    parser = options.parser(__doc__, sets=(*POOLED, *HARDER))
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), metavar="SMALL,LARGE")
    parser.add_argument("--kept", type=Path, help="folder of what was heard; left out, it is not kept")
    asked = parser.parse_args()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    pairs = [tuple(pair.split(",")) for pair in asked.pairs]
    outcomes = heard(asked, pairs, utterances)
    found: dict[str, dict[str, Figures]] = {}
    for small, large in pairs:
        ours = outcomes[target_s(asked, small)]
        title = f"{small}, then {large}"
        found[title] = {name: rows(of, ours[small], ours[large]) for name, of in grouped(utterances).items()}
        for group, figures in found[title].items():
            columns = list(next(iter(figures.values())))
            report.show(
                f"{title}; {group}", ["", *columns], [[rule, *cells.values()] for rule, cells in figures.items()]
            )
    report.record("cascade", utterances, threads=asked.threads, pairs=found)


if __name__ == "__main__":
    main()
