import asyncio
import math
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from model_store.manifest import Manifest
from service.engine.choice import AUTO, Choices
from service.engine.device import Limit
from service.engine.governor import Governor
from service.engine.journal import Journal
from service.engine.observing import Unobserved
from service.engine.plan import plan
from service.engine.policy import FULL_S
from service.engine.precision import Fill, Orders, Signals
from service.engine.profile import Hosted
from service.engine.variants import Variants
from service.errors import ModelNotFound, ModelUnavailable, OptionError
from tests.engine.hosting import FakeLoader, eventually, manifest_of
from tests.engine.plans import budget, candidate

pytestmark = pytest.mark.anyio

FP32, INT8, PRUNED, BASE = "tiny:fp32", "tiny:int8", "tiny:pruned-int8", "base:int8"
SPEEDS = {FP32: 100.0, INT8: 200.0, PRUNED: 300.0, BASE: 50.0, "base:fp32": 20.0}
LOSSES = {FP32: 0.0, INT8: 0.2, PRUNED: 0.8, BASE: 0.0, "base:fp32": 0.5}


def choices_of(manifests: Sequence[Manifest], *, default: str = "tiny") -> Choices:
    """The better a variant, the quicker it answers alone; so the plan has the best first."""
    candidates = [
        replace(
            candidate(one.name, loss=LOSSES[one.name], latency_ms=50 + 100 * LOSSES[one.name], speed=SPEEDS[one.name]),
            precision=one.precision,
        )
        for one in manifests
    ]
    plans = {one.model: plan([each for each in candidates if each.model == one.model], budget()) for one in candidates}
    return Choices(tuple(manifests), plans | {AUTO: plan(candidates, budget())}, default, fast_int8=True)


@dataclass
class Court:
    governor: Governor
    variants: Variants
    loader: FakeLoader
    journal: Journal
    switches: list[tuple[str, str]]
    choices: Choices
    signals: list[Signals] = field(default_factory=lambda: [Signals(now_s=0.0)])

    @property
    def serving(self) -> str:
        return self.governor.choose("tiny").name

    async def looks(self, count: int, *, delay_s: float = 0.0, refused: int = 0) -> None:
        """So many looks, a quarter of a second of the clock apart, each followed by its switch."""
        for _ in range(count):
            now_s = self.signals[0].now_s + 0.25
            self.signals[0] = Signals(now_s=now_s, delay_s=delay_s, refused=refused)
            self.governor.look()
            await eventually(lambda: all(one.switching_to is None for one in self.governor.report()))


@asynccontextmanager
async def court(
    *names: str,
    loader: FakeLoader | None = None,
    listed: tuple[str, ...] = (),
    default: str = "tiny",
    started: bool = True,
) -> AsyncIterator[Court]:
    loader = loader or FakeLoader()
    journal = Journal(Unobserved())

    async def forget(hosted: Hosted) -> None: ...

    variants = Variants(
        loader, journal, limit=Limit(math.inf, "none"), footprint=lambda _: 0, idle_s=None, forget=forget
    )
    found = choices_of([manifest_of(name) for name in names or (FP32, INT8, PRUNED)], default=default)
    switches: list[tuple[str, str]] = []
    governor = Governor(
        variants,
        journal,
        choices=lambda: at.choices,
        signals=lambda: at.signals[0],
        switched=lambda previous, choice: switches.append((previous.name, choice.name)),
        listed=listed,
        clock=lambda: at.signals[0].now_s,
    )
    at = Court(governor, variants, loader, journal, switches, found)
    if started:
        await governor.start()
        at.signals[0] = Signals(now_s=100.0)
    yield at
    await governor.close()
    await variants.close()


async def test_what_serves_first_is_the_first_of_the_plan() -> None:
    async with court() as at:
        assert at.serving == FP32
        assert at.loader.loads == [FP32]
        assert at.variants.serving == {FP32}
        (report,) = at.governor.report()
        assert (report.model, report.serving, report.cause) == ("tiny", FP32, "start")
        assert [rung.name for rung in report.ladder.rungs] == [FP32, INT8, PRUNED]


async def test_where_the_first_cannot_be_loaded_the_next_serves() -> None:
    async with court(loader=FakeLoader(faults={FP32: "damaged"})) as at:
        assert at.serving == INT8
        assert "damaged" in at.governor.choose("tiny").reason
        await at.looks(20)
        assert at.serving == INT8


async def test_where_none_can_be_loaded_the_start_fails_with_the_first_reason() -> None:
    loader = FakeLoader(faults={name: f"{name} is damaged" for name in (FP32, INT8, PRUNED)})
    async with court(loader=loader, started=False) as at:
        with pytest.raises(ModelUnavailable, match="tiny:fp32 is damaged"):
            await at.governor.start()


async def test_load_switches_down_and_calm_up() -> None:
    async with court() as at:
        await at.looks(1, delay_s=2.0)
        assert at.serving == INT8
        assert "queue delay" in at.governor.choose("tiny").reason
        await at.looks(80)
        assert at.serving == FP32
        assert at.switches == [(FP32, INT8), (INT8, FP32)]
        up, down = [event for event in at.journal.events if event.kind == "switched"]
        assert (down.previous, down.variant, down.cause) == (FP32, INT8, "load")
        assert (up.previous, up.variant, up.cause) == (INT8, FP32, "calm")


async def test_the_old_variant_serves_until_the_new_one_is_there() -> None:
    async with court() as at:
        at.loader.gate = threading.Event()
        at.signals[0] = Signals(now_s=101.0, delay_s=2.0)
        at.governor.look()
        await eventually(lambda: INT8 in at.loader.loads)
        assert at.serving == FP32
        assert at.governor.report()[0].switching_to == INT8
        for _ in range(10):
            at.governor.look()  # one switch at a time
        at.loader.gate.set()
        await eventually(lambda: at.serving == INT8)
        assert at.loader.loads == [FP32, INT8]


async def test_a_switch_that_fails_leaves_the_old_one_serving_and_the_rung_is_passed_over() -> None:
    async with court(loader=FakeLoader(faults={INT8: "its file is damaged"})) as at:
        await at.looks(1, delay_s=2.0)
        assert at.serving == FP32
        assert at.journal.events[0].kind == "failed"
        await at.looks(20, delay_s=6.0)
        assert at.serving == PRUNED
        assert at.loader.loads.count(INT8) == 1


async def test_a_pin_is_served_when_the_order_returns_whatever_the_load() -> None:
    async with court() as at:
        await at.governor.order("tiny", Orders(pin="int8"))
        assert at.serving == INT8
        assert at.governor.choose("tiny").reason == "pinned by an operator"
        await at.looks(20, delay_s=5.0)
        await at.looks(100)
        assert at.serving == INT8
        await at.governor.order("tiny", Orders())
        assert at.serving == INT8  # from where the policy goes on
        assert "orders have ended" in at.governor.choose("tiny").reason
        await at.looks(60)
        assert at.serving == FP32


async def test_a_pin_that_cannot_be_loaded_is_refused_and_the_orders_are_as_before() -> None:
    async with court(loader=FakeLoader(faults={PRUNED: "in its smoke test it heard 'a'"})) as at:
        await at.governor.order("tiny", Orders(pin="int8"))
        for _ in range(2):  # an order tries again what failed
            with pytest.raises(ModelUnavailable, match="smoke test"):
                await at.governor.order("tiny", Orders(pin="pruned-int8"))
        assert at.loader.loads.count(PRUNED) == 2
        assert at.serving == INT8
        assert at.governor.report()[0].orders == Orders(pin=INT8)


@pytest.mark.parametrize("pin", ["int4", "tiny:int4", "base:int8"])
async def test_a_pin_must_be_a_variant_that_is_there(pin: str) -> None:
    async with court() as at:
        with pytest.raises(OptionError, match="pin"):
            await at.governor.order("tiny", Orders(pin=pin))
        assert at.governor.report()[0].orders == Orders()


async def test_bounds_hold_the_policy() -> None:
    async with court() as at:
        await at.governor.order("tiny", Orders(highest="int8", lowest="int8"))
        assert at.serving == INT8
        await at.looks(20, delay_s=5.0)
        assert at.serving == INT8
        await at.looks(100)
        assert at.serving == INT8
        with pytest.raises(OptionError, match="no rung"):
            await at.governor.order("tiny", Orders(highest="int4"))


async def test_bounds_that_leave_nothing_are_refused() -> None:
    async with court() as at:
        with pytest.raises(OptionError, match="below"):
            await at.governor.order("tiny", Orders(highest="pruned-int8", lowest="fp32"))


async def test_a_bound_whose_rung_has_left_the_ladder_is_no_hindrance_to_other_orders() -> None:
    async with court() as at:
        await at.governor.order("tiny", Orders(lowest="pruned-int8"))
        at.choices = choices_of([manifest_of(name) for name in (FP32, INT8)])
        await at.governor.order("tiny", Orders(pin="int8", lowest=PRUNED))
        assert at.serving == INT8


async def test_while_much_comes_the_next_rung_is_in_memory_already() -> None:
    async with court() as at:
        await at.looks(4)
        assert at.variants.names() == (FP32,)
        at.signals[0] = replace(at.signals[0], offered=60.0)
        at.governor.look()
        await eventually(lambda: at.variants.names() == (FP32, INT8))
        assert at.serving == FP32
        await at.looks(1, delay_s=2.0)
        assert at.serving == INT8
        assert at.loader.loads == [FP32, INT8]


async def test_where_memory_is_full_what_is_idle_goes_before_the_rung_changes() -> None:
    async with court() as at:
        await at.variants.load(manifest_of(BASE), reason="ordered")
        full = Signals(now_s=101.0, memory=(Fill("memory", 99, 100),), offered=60.0)
        for after_s in (0.0, 0.5, FULL_S):
            assert at.variants.names() == (FP32, BASE)  # what decoding a file takes is soon free again
            at.signals[0] = replace(full, now_s=full.now_s + after_s)
            at.governor.look()
        await eventually(lambda: at.variants.names() == (FP32,))
        at.governor.look()
        await asyncio.sleep(0.02)
        assert at.variants.names() == (FP32,)  # nothing is loaded ahead of need
        assert at.serving == FP32


async def test_orders_for_a_model_that_is_not_there_are_refused() -> None:
    async with court() as at:
        with pytest.raises(ModelNotFound):
            await at.governor.order("large", Orders(pin="int8"))


async def test_orders_wait_for_a_switch_that_runs() -> None:
    async with court() as at:
        at.loader.gate = threading.Event()
        at.signals[0] = Signals(now_s=101.0, delay_s=2.0)
        at.governor.look()
        ordered = asyncio.create_task(at.governor.order("tiny", Orders(pin="fp32")))
        await eventually(lambda: INT8 in at.loader.loads)
        assert not ordered.done()
        at.loader.gate.set()
        await ordered
        assert at.serving == FP32


async def test_wishes_are_granted_where_nothing_stands_against_them() -> None:
    async with court() as at:
        assert at.governor.choose("tiny", wish="int8").name == INT8
        await at.looks(1, delay_s=2.0)
        choice = at.governor.choose("tiny", wish="fp32")
        assert choice.name == INT8
        assert "load" in choice.reason


async def test_what_a_client_names_is_obeyed() -> None:
    async with court() as at:
        await at.governor.order("tiny", Orders(pin="int8"))
        assert at.governor.choose(FP32).name == FP32


async def test_a_listed_ladder_goes_before_the_plan() -> None:
    async with court(listed=("int8", "fp32")) as at:
        assert at.serving == INT8
        assert [rung.name for rung in at.governor.report()[0].ladder.rungs] == [INT8, FP32]


async def test_listed_rungs_that_are_not_there_are_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    async with court(listed=("fp99", "int8")) as at:
        assert at.serving == INT8
    assert "WREN_LADDER: fp99 is left out: the store has no such variant" in caplog.messages
    async with court(listed=("fp99",), started=False) as at:
        with pytest.raises(ModelUnavailable, match="fp99: the store has no such variant"):
            await at.governor.start()


async def test_a_variant_that_is_the_default_goes_before_a_listed_ladder() -> None:
    async with court(default=INT8, listed=("fp32", "int8")) as at:
        assert [rung.name for rung in at.governor.report()[0].ladder.rungs] == [INT8]


async def test_a_default_that_names_a_variant_never_moves_but_by_order() -> None:
    async with court(default=FP32) as at:
        assert at.governor.choose(AUTO).name == FP32
        await at.looks(20, delay_s=5.0)
        assert at.governor.choose(AUTO).name == FP32
        await at.governor.order(AUTO, Orders(pin="int8"))
        assert at.governor.choose(AUTO).name == INT8
        assert at.governor.choose(FP32).name == FP32


async def test_another_build_of_what_serves_is_switched_to() -> None:
    async with court() as at:
        newer = manifest_of(FP32, build=2)
        at.loader.store[FP32] = newer
        at.choices = choices_of([newer, *(manifest_of(name) for name in (INT8, PRUNED))])
        await at.looks(1)
        assert at.governor.choose("tiny").manifest.digest == newer.digest
        assert at.loader.loads == [FP32, FP32]


async def test_what_serves_goes_on_after_its_model_was_removed() -> None:
    async with court(FP32, BASE) as at:
        at.choices = choices_of([manifest_of(BASE)])
        await at.looks(5, delay_s=5.0)
        assert at.governor.report()[0].serving == FP32


async def test_a_model_that_nobody_uses_is_left_alone() -> None:
    async with court(FP32, INT8, BASE, "base:fp32", default="tiny") as at:
        assert at.governor.choose("base").name == BASE
        await at.looks(3, delay_s=5.0)
        assert [one.model for one in at.governor.report()] == ["tiny", "base"]


async def test_after_a_variant_failed_a_request_the_next_rung_serves_at_once() -> None:
    async with court() as at:
        await at.variants.unload(FP32, reason="ordered")
        at.loader.faults[FP32] = "its file is damaged"
        chosen = at.governor.choose("tiny")
        with pytest.raises(ModelUnavailable) as failed:
            await at.variants.lease(chosen.manifest)
        instead = await at.governor.instead("tiny", chosen, failed.value, language=None)
        assert instead is not None
        assert instead.name == INT8
        assert "its file is damaged" in instead.reason
        assert at.serving == INT8
        assert await at.governor.instead(FP32, chosen, failed.value, language=None) is None


async def test_a_wish_that_cannot_be_had_gets_what_serves() -> None:
    async with court(loader=FakeLoader(faults={INT8: "its file is damaged"})) as at:
        wished = at.governor.choose("tiny", wish="int8")
        with pytest.raises(ModelUnavailable) as failed:
            await at.variants.lease(wished.manifest)
        instead = await at.governor.instead("tiny", wished, failed.value, language=None)
        assert instead is not None
        assert instead.name == FP32
        assert "int8 wished for, but that cannot be had now" in instead.reason


async def test_who_speaks_another_language_is_not_served_by_what_does_not_know_it() -> None:
    async with court() as at:
        chosen = at.governor.choose("tiny")
        instead = await at.governor.instead("tiny", chosen, ModelUnavailable(FP32, "gone"), language="de")
        assert instead is None


async def test_after_the_model_was_removed_orders_and_wishes_are_answered_still() -> None:
    async with court(FP32, INT8, BASE) as at:
        at.choices = choices_of([manifest_of(BASE)])
        await at.looks(2)
        assert at.governor.choose("tiny", wish="int8").name in (FP32, INT8)
        await at.governor.order("tiny", Orders(lowest="fp32"))
