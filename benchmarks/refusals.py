"""Is a variant that is damaged, wrong or too large refused by its name and reason, while others are served?

python -m benchmarks.refusals [--clients 4 --memory 300MB --beside 400MB --data DIR]

A copy of the store gets a variant with one wrong byte, and one whose checksums are right and whose weights are
shuffled; servers with too little memory for fp32, or for it beside what serves, are asked for fp32. Each is asked for
by a request that names it, by an order to load it and by a pin, while clients ask without a pause. Everything they get
must be the text of what served before. Where only both together are too large there is no pin: it is obeyed, and what
serves goes first.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import options, report
from benchmarks.clients import Run, closed_loop, content, warm_up, wavering
from benchmarks.damage import add_corrupted, add_shuffled, copied
from benchmarks.operating import MODEL, Operator, Refused
from benchmarks.servers import Server, wren
from benchmarks.speech import Utterance
from benchmarks.switching import SETS

SERVES = f"{MODEL}:int8"
LARGE = f"{MODEL}:fp32"
HEARS = "silero-vad:fp32"

PAUSE_S = 0.5
"""Before each order, and after the last: requests are answered meanwhile."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an order for a variant came to, and what served afterwards; `status` is 0 if it was carried out."""

    variant: str
    asked: str
    status: int
    code: str
    reason: str
    serving: str

    @property
    def right(self) -> bool:
        """Refused by its name, and nothing else serves than before."""
        return self.status >= 400 and self.variant in self.reason and self.serving == SERVES


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the clients got meanwhile; `strange` are answers of another variant than the one that serves."""

    answered: int
    failures: dict[str, int]
    strange: int
    texts_that_differ: list[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    refused: list[Refusal]
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Case:
    """A store and the variants of it that cannot serve; `pinned` if they are asked for by a pin as well."""

    store: Path
    variants: Sequence[str]
    settings: dict[str, str]
    pinned: bool = True


async def refusals(server: Server, case: Case, audio: bytes) -> list[Refusal]:
    found: list[Refusal] = []
    async with Operator(server) as operator:
        for variant in case.variants:
            for asked, order in _orders(operator, variant, audio, pinned=case.pinned):
                await asyncio.sleep(PAUSE_S)
                found.append(await _refusal(operator, variant, asked, order))
        await asyncio.sleep(PAUSE_S)
    return found


def _orders(
    operator: Operator, variant: str, audio: bytes, *, pinned: bool
) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    yield "by a request", lambda: operator.transcribe(variant, audio)
    yield "to load", lambda: operator.load(variant)
    if pinned:
        yield "by a pin", lambda: operator.pin(variant)


async def _refusal(operator: Operator, variant: str, asked: str, order: Callable[[], Awaitable[object]]) -> Refusal:
    status, code, reason = 0, "", ""
    try:
        await order()
    except Refused as refused:
        status, code, reason = refused.status, refused.code, refused.reason
    serving = (await operator.look()).models[0].serving
    return Refusal(variant, asked, status, code, reason, serving)


async def beside(
    server: Server, case: Case, utterances: Sequence[Utterance], *, clients: int
) -> tuple[list[Refusal], Run]:
    """The refusals, and what clients get that ask without a pause until the last of them."""
    await warm_up(server, utterances)
    asking = asyncio.create_task(refusals(server, case, content(utterances[0].path)))
    todo = takewhile(lambda _: not asking.done(), cycle(utterances))
    run = await closed_loop(server, todo, clients=clients)
    return await asking, run


def traffic(run: Run) -> Traffic:
    strange = sum(one.variant != SERVES for one in run.answered)
    failures = run.statuses - Counter({"200": len(run.answered)})
    return Traffic(len(run.answered), dict(failures), strange, wavering(run.answered))


def measured(asked: argparse.Namespace, utterances: Sequence[Utterance]) -> dict[str, Outcome]:
    """With a damaged store, and with so much memory."""
    ladder = {"WREN_LADDER": SERVES}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        registry = copied(asked.store, folder / "store", [SERVES, LARGE, HEARS])
        served, large = (registry.get(*name.split(":")) for name in (SERVES, LARGE))
        built = folder / "built"
        bad = [add_corrupted(registry, large, built), add_shuffled(registry, served, built)]
        cases = {
            "damaged": Case(registry.root, bad, ladder),
            asked.memory: Case(asked.store, [LARGE], ladder | {"WREN_MEMORY": asked.memory}),
            f"{asked.beside} for both": Case(
                asked.store, [LARGE], ladder | {"WREN_MEMORY": asked.beside}, pinned=False
            ),
        }
        found: dict[str, Outcome] = {}
        for title, case in cases.items():
            with wren(case.store, MODEL, threads=asked.threads, settings=case.settings) as server:
                refused, run = asyncio.run(beside(server, case, utterances, clients=asked.clients))
            found[title] = Outcome(refused, traffic(run))
    return found


def show(found: dict[str, Outcome]) -> None:
    rows: list[list[report.Cell]] = []
    for title, outcome in found.items():
        for one in outcome.refused:
            rows.append([f"{title}: {one.variant}", one.asked, one.status, one.code, "yes" if one.right else "NO"])
    report.show("Orders", ["", "asked for", "status", "code", "refused by name"], rows)
    for reason in dict.fromkeys(one.reason for outcome in found.values() for one in outcome.refused):
        print(f"{reason}\n")
    others: list[list[report.Cell]] = []
    for title, outcome in found.items():
        got = outcome.traffic
        others.append([title, got.answered, sum(got.failures.values()), got.strange, len(got.texts_that_differ)])
    report.show("Others meanwhile", ["", "answered", "failed", "by another variant", "texts that differ"], others)


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--memory", default="300MB", metavar="SIZE", help=f"WREN_MEMORY with no room for {LARGE}")
    parser.add_argument("--beside", default="400MB", metavar="SIZE", help=f"the same with none for it beside {SERVES}")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    found = measured(asked, utterances)
    show(found)
    report.record(
        "refusals",
        utterances,
        serves=SERVES,
        threads=asked.threads,
        clients=asked.clients,
        wrong=[asdict(one) for outcome in found.values() for one in outcome.refused if not one.right],
        outcomes={title: asdict(one) for title, one in found.items()},
    )


if __name__ == "__main__":
    main()
