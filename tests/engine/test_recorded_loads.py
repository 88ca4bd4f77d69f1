"""The policy held to signals that a real server saw while its load went from half of what the best rung carries to one
and a half times that, and back (`python -m benchmarks steps --write`)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.engine.ladder import Ladder, Rung
from service.engine.policy import decide, settled
from service.engine.precision import Orders, Signals

TRACE = Path(__file__).parent / "traces" / "load_step.json"

DOWN_S = 5.0
UP_S = 60.0
DRIFT_S = 1.0
"""By which a decision may come before or after the switch that was recorded: looks were not recorded to the instant."""


@dataclass(frozen=True)
class Recorded:
    """What was seen, and at each look which rung served."""

    ladder: Ladder
    looks: tuple[tuple[Signals, int], ...]
    rises_s: float
    falls_s: float

    @classmethod
    def read(cls) -> "Recorded":
        found = json.loads(TRACE.read_text())
        rungs = tuple(
            Rung(one["id"], one["speed"], one["latency_ms"], one["memory_bytes"], one["wer_loss"])
            for one in found["rungs"]
        )
        rows = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
        looks = tuple(
            (
                Signals(
                    now_s=row["at_s"],
                    delay_s=row["delay_s"],
                    target_s=found["target_s"],
                    refused=row["refused"],
                    offered=row["offered"],
                    speed=row["speed"],
                ),
                row["rung"],
            )
            for row in rows
        )
        before_s, high_s = (phase["seconds"] for phase in found["load"][:2])
        return cls(Ladder(rungs), looks, before_s, before_s + high_s)

    def switches_s(self) -> list[float]:
        pairs = zip(self.looks, self.looks[1:], strict=False)
        return [signals.now_s for (_, before), (signals, after) in pairs if after != before]


def decisions(recorded: Recorded) -> Iterator[tuple[float, int]]:
    """When the policy wants another rung, and which; a switch takes no time."""
    ladder = recorded.ladder
    standing = settled(ladder, ladder.rungs[0].name, 0.0)
    for signals, _ in recorded.looks:
        decision = decide(ladder, standing, Orders(), signals)
        if decision.standing.rung != standing.rung:
            yield signals.now_s, decision.standing.rung
        standing = decision.standing


def test_the_policy_steps_down_and_up_once_when_the_server_did() -> None:
    recorded = Recorded.read()
    (down_s, lower), (up_s, upper) = decisions(recorded)
    assert (lower, upper) == (len(recorded.ladder.rungs) - 1, 0)
    assert recorded.rises_s < down_s < recorded.rises_s + DOWN_S
    assert recorded.falls_s < up_s < recorded.falls_s + UP_S
    served_down_s, served_up_s = recorded.switches_s()
    assert abs(down_s - served_down_s) < DRIFT_S
    assert abs(up_s - served_up_s) < DRIFT_S


def test_without_the_load_the_policy_stays() -> None:
    recorded = Recorded.read()
    calm = tuple(look for look in recorded.looks if look[0].now_s < recorded.rises_s)
    assert list(decisions(Recorded(recorded.ladder, calm, 0.0, 0.0))) == []
