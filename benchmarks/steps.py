"""What does moving precision gain when the load goes beyond what the best variant carries, and back?

python -m benchmarks.steps --data DIR [--seconds 30 60 90 --shares 0.5 1.5 0.5 --write]

The same requests at the same moments (an open loop) for a server that moves between fp32 and int8 and for one that
keeps to fp32, both with the same target and the same limit of audio in work. Shares are of what fp32 carries, measured
before. --write puts the plot where the docs show it, and the signals that the policy saw where the tests replay them.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import options, report
from benchmarks.arrivals import Phase, arrivals
from benchmarks.chart import DARK, LIGHT, Chart, Line, Panel, svg
from benchmarks.clients import warm_up
from benchmarks.course import REFUSED, Course, Seen, Told, a_second, bounds, course, looks, told
from benchmarks.operating import MODEL, RUNGS
from benchmarks.servers import Server, wren
from benchmarks.speech import Utterance
from benchmarks.switching import SETS, capacity

ROOT = Path(__file__).parents[1]
PLOT = ROOT / "docs/images"
TRACE = ROOT / "tests/engine/traces/load_step.json"

SETTLED_S = 10.0
"""After a step of the load: what piled up before the policy acted is answered."""

WINDOW_S = 3.0
"""That the plotted rates are the mean of."""


async def measured(server: Server, utterances: Sequence[Utterance], phases: Sequence[Phase]) -> Course:
    """The course of the load, and of some calm after the last request."""
    await warm_up(server, utterances)
    return await course(server, arrivals(utterances, phases, seed=0), seconds=sum(phase.seconds for phase in phases))


def both(asked: argparse.Namespace, utterances: Sequence[Utterance]) -> tuple[float, list[Phase], list[Course]]:
    """The requests a second that the best variant carries, the load, and the course with the policy and without."""
    least_s = options.size(asked, None, full=20.0, trial=3.0)
    limits = {"WREN_LATENCY": f"{1e3 * asked.target_s:g}ms", "WREN_MAX_WAITING_S": f"{asked.max_waiting_s:g}"}
    with wren(asked.store, f"{asked.model}:{RUNGS[0]}", threads=asked.threads, settings=limits) as server:
        carried = asyncio.run(capacity(server, utterances, least_s=least_s))
        phases = [
            Phase(f"{100 * share:g} %", s, share * carried)
            for share, s in zip(asked.shares, asked.seconds, strict=True)
        ]
        fixed = asyncio.run(measured(server, utterances, phases))
    ladder = {"WREN_LADDER": ",".join(RUNGS), **limits}
    with wren(asked.store, asked.model, threads=asked.threads, settings=ladder) as server:
        moving = asyncio.run(measured(server, utterances, phases))
    return carried, phases, [moving, fixed]


def by_phase(found: Course, phases: Sequence[Phase]) -> dict[str, Told]:
    """Of each phase, and of the high one without its beginning."""
    high, (start_s, end_s) = _high(phases)
    parts = {
        f"{n}: {phase.name}": times for n, (phase, times) in enumerate(zip(phases, bounds(phases), strict=True), 1)
    }
    parts[f"{high.name} after {SETTLED_S:g} s"] = (start_s + SETTLED_S, end_s)
    return {name: told(found.due(*times)) for name, times in parts.items()}


def _high(phases: Sequence[Phase]) -> tuple[Phase, tuple[float, float]]:
    """The phase with most requests, and when it begins and ends."""
    return max(zip(phases, bounds(phases), strict=True), key=lambda one: one[0].rate)


def moves(found: Course, phases: Sequence[Phase]) -> dict[str, float | int | None]:
    """Seconds from the step of the load to the lower rung, and from its end back to the upper one."""
    _, (start_s, end_s) = _high(phases)
    down_s = found.first(RUNGS[-1], after_s=start_s)
    up_s = None if down_s is None else found.first(RUNGS[0], after_s=end_s)
    return {"down_s": down_s, "up_s": up_s, "switches": found.switches}


def chart(found: Sequence[Course], phases: Sequence[Phase], *, carried: float, target_s: float) -> Chart:
    seconds = sum(phase.seconds for phase in phases)
    rungs = tuple(reversed(RUNGS))
    offered = Line(a_second(found[0].answers, seconds=seconds, window_s=WINDOW_S))
    refused = [[a for a in one.answers if a.answer.status == REFUSED] for one in found]
    panels = [
        Panel(f"Requests a second; dashed: what {RUNGS[0]} carries", [None, None, offered], mark=carried),
        Panel(
            "Variant that serves",
            [_line(one, lambda s: rungs.index(s.look.serving), steps=True) for one in found],
            names=rungs,
        ),
        Panel(
            "Queue delay, s; dashed: the target",
            [_line(one, lambda s: s.look.signals.queue_delay_ms / 1e3) for one in found],
            mark=target_s,
        ),
        Panel("Refused a second", [Line(a_second(one, seconds=seconds, window_s=WINDOW_S)) for one in refused]),
    ]
    names = [f"moves between {' and '.join(RUNGS)}", f"keeps to {RUNGS[0]}"]
    title = f"A load of {' to '.join(phase.name for phase in phases)} of what {RUNGS[0]} carries"
    return Chart(title, names, panels, seconds, _high(phases)[1])


def _line(found: Course, height: Callable[[Seen], float], *, steps: bool = False) -> Line:
    return Line([(one.at_s, height(one)) for one in looks(found)], steps=steps)


def write(drawn: Chart, recorded: str) -> None:
    for name, theme in (("light", LIGHT), ("dark", DARK)):
        (PLOT / f"load-step-{name}.svg").write_text(svg(drawn, theme))
    TRACE.parent.mkdir(exist_ok=True)
    TRACE.write_text(recorded)


def trace(found: Course, phases: Sequence[Phase], *, target_s: float) -> str:
    """The policy's looks as JSON: names of columns, and a row each; the clock begins with the first request."""
    columns = ["at_s", "delay_s", "offered", "speed", "refused", "resident_mb", "rung"]
    load = [{"name": phase.name, "seconds": phase.seconds} for phase in phases]
    rungs = [rung.model_dump() for rung in found.seen[0].look.models[0].rungs]
    known = {"rungs": rungs, "target_s": target_s, "load": load, "columns": columns}
    head = json.dumps(known).removesuffix("}")
    rows = ",\n".join(json.dumps(_row(one)) for one in looks(found))
    return f'{head}, "rows": [\n{rows}\n]}}\n'


def _row(one: Seen) -> list[float | int | None]:
    seen = one.look.signals
    speed = None if seen.speed is None else round(seen.speed, 1)
    figures = [round(one.at_s, 2), round(seen.queue_delay_ms / 1e3, 3), round(seen.offered, 1), speed, seen.refused]
    return [*figures, round(one.look.resident_bytes / 1e6), RUNGS.index(one.look.serving)]


def show(found: dict[str, Course], phases: Sequence[Phase]) -> None:
    columns = ["", "requests", "refused", "failed", "p50 ms", "p95 ms", "p99 ms"]
    for name, one in found.items():
        rows: list[list[report.Cell]] = []
        for part, of in by_phase(one, phases).items():
            times = [of.answered.p50_ms, of.answered.p95_ms, of.answered.p99_ms] if of.answered else []
            rows.append([part, of.offered, of.refused, of.failed, *times])
        report.show(name, columns, rows)
    told = [[name, *moves(one, phases).values()] for name, one in found.items()]
    report.show("Precision", ["", "down after s", "up after s of calm", "switches"], told)


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument(
        "--shares", nargs="+", type=float, default=[0.5, 1.5, 0.5], help="of what the best variant carries"
    )
    parser.add_argument(
        "--seconds", nargs="+", type=float, help="of each share; default: 30 60 90, without --data 2 each"
    )
    parser.add_argument("--model", default=MODEL, help=f"that has {' and '.join(RUNGS)}")
    parser.add_argument("--target-s", type=float, default=1.0, help="WREN_LATENCY")
    parser.add_argument("--max-waiting-s", type=float, default=240.0, help="WREN_MAX_WAITING_S")
    parser.add_argument(
        "--write", action="store_true", help="put the plot into the docs and the signals with the tests"
    )
    asked = parser.parse_args()
    asked.seconds = asked.seconds or ([30.0, 60.0, 90.0] if asked.data else [2.0] * len(asked.shares))
    return asked


def main() -> None:
    asked = parsed()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    carried, phases, (moving, fixed) = both(asked, utterances)
    found = {"moves": moving, "fixed": fixed}
    show(found, phases)
    if asked.write:
        drawn = chart([moving, fixed], phases, carried=carried, target_s=asked.target_s)
        write(drawn, trace(moving, phases, target_s=asked.target_s))
    report.record(
        "steps",
        utterances,
        model=asked.model,
        rungs=RUNGS,
        threads=asked.threads,
        requests_per_s=carried,
        target_s=asked.target_s,
        max_waiting_s=asked.max_waiting_s,
        phases=[asdict(phase) for phase in phases],
        figures={name: {part: asdict(of) for part, of in by_phase(one, phases).items()} for name, one in found.items()},
        moves={name: moves(one, phases) for name, one in found.items()},
    )


if __name__ == "__main__":
    main()
