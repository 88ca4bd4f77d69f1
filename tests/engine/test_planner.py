from pathlib import Path

import pytest

from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine import fingerprint
from service.engine.budget import Asked
from service.engine.choice import AUTO
from service.engine.device import Gpu, Gpus, read_device
from service.engine.engine import LocalEngine
from service.engine.fingerprint import Conditions
from service.engine.forming import EncodeCosts, Layout, Point
from service.engine.gpu import CONTEXT_BYTES
from service.engine.plan import Plan
from service.engine.planner import Planner
from service.engine.profile import Profile, Service, Timings
from service.engine.profiles import Profiles
from service.errors import ModelNotFound, NothingFits
from service.settings import Settings
from tests.engine.plans import MB
from tests.engine.recordings import TINY, request, talk
from tests.engine.stores import linked_store

GB = 1000 * MB
NAMES = (f"{TINY}:fp32", f"{TINY}:int8")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """fp32 is the quicker on one core, and needs 400 MB; INT8 needs 200 MB. Whether INT8 was evaluated is all one."""
    store = linked_store(tmp_path, f"{TINY}/fp32", f"{TINY}/int8", "silero-vad/fp32")
    keep(store, "fp32", latency_ms=50, mb=400)
    keep(store, "int8", latency_ms=80, mb=200)
    return store


def keep(store: Path, variant: str, *, latency_ms: float, mb: int, threads: int = 1) -> None:
    device = read_device()
    profile = Profile(
        encode=EncodeCosts((Point(1, 500, 10.0),)),
        rows=2,
        reason="by hand",
        speed=60,
        layout=Layout(1, threads),
        timings=Timings(steps=(), load_ms=300, row_bytes=5 * MB, speed=100),
        service=Service(mb * MB // 2, mb * MB, mb * MB, 0, latency_ms),
    )
    manifest = Registry(store).get(TINY, variant)
    Profiles(store, device).keep(manifest, profile, Conditions.of(device, threads=threads))


def settings(store: Path, **given: object) -> Settings:
    fixed = {"store": store, "model": TINY, "threads": 1, "profile_s": 0, "max_wer_loss": "inf"}
    return Settings.model_validate(fixed | given)


def planner(store: Path, **given: object) -> Planner:
    return Planner(Registry(store), read_device(), settings(store, **given))


def manifests(store: Path) -> tuple[Manifest, ...]:
    return Registry(store).variants(TINY)


def names(plan: Plan) -> list[str]:
    return [one.name for one in plan.chosen]


def test_the_plan_rests_on_what_was_measured_here(store: Path) -> None:
    plan = planner(store).plan(manifests(store))
    assert names(plan) == list(NAMES)
    assert (plan.chosen[0].costs.latency_ms, plan.chosen[0].costs.memory_bytes) == (50, 400 * MB)


def test_the_settings_are_the_budget(store: Path) -> None:
    plan = planner(store, memory=300 * MB).plan(manifests(store))
    assert names(plan) == [f"{TINY}:int8"]
    assert [fault.reason for fault in plan.excluded[0].faults] == ["needs 400 MB, there are 300 MB (WREN_MEMORY)"]


def test_other_cores_have_costs_of_their_own(store: Path) -> None:
    one = planner(store)
    assert names(one.plan(manifests(store), Asked(cores=2))) == []
    keep(store, "int8", latency_ms=30, mb=250, threads=2)
    plan = one.plan(manifests(store), Asked(cores=2))
    assert names(plan) == [f"{TINY}:int8"]
    assert plan.excluded[0].faults[0].reason == "not profiled on this machine with 2 cores: wren profile"


def test_what_cannot_run_here_says_why(store: Path) -> None:
    fp32, int8 = manifests(store)
    device = read_device()
    Profiles(store, device).refuse(int8, "illegal instruction", Conditions.of(device, threads=1))
    assert planner(store).known((fp32, int8)).unable == {f"{TINY}:int8": "illegal instruction"}


def test_what_a_runtime_is_missing_for_says_how_to_install_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fingerprint.DISTRIBUTIONS, "torch", "no-such-distribution")
    foreign = manifests(store)[0].model_copy(update={"runtime": "torch", "files": ()})
    assert planner(store).known((foreign,)).unable == {
        f"{TINY}:fp32": 'needs torch, which is not installed: pip install "wren-asr[torch]"'
    }


def test_what_is_to_compute_on_a_gpu_that_is_not_there_cannot_run(store: Path) -> None:
    foreign = manifests(store)[0].model_copy(update={"runtime": "torch", "files": ()})
    for asked, why in (("cuda", "needs a GPU, for WREN_DEVICE=cuda: no NVIDIA driver is installed"), ("auto", None)):
        device = read_device(gpus=Gpus((), "no NVIDIA driver is installed", asked=asked))
        found = Planner(Registry(store), device, settings(store)).known((foreign,))
        assert found.unable.get(f"{TINY}:fp32") == why


def test_what_is_left_of_a_gpu_is_for_weights_and_caches(store: Path) -> None:
    assert planner(store).gpu_bytes == 0
    gpus = Gpus((Gpu("T4", 16 * GB, 15 * GB),), "by nvidia-smi")
    one = Planner(Registry(store), read_device(gpus=gpus), settings(store, gpu_memory=4 * GB))
    assert (one.budget.gpu_memory.reason, one.gpu_bytes) == ("WREN_GPU_MEMORY", 4 * GB - CONTEXT_BYTES)
    assert Planner(Registry(store), read_device(gpus=gpus), settings(store, gpu_memory=100 * MB)).gpu_bytes == 1


def test_the_stamp_changes_with_the_profiles(store: Path) -> None:
    one = planner(store)
    before = one.stamp()
    assert one.stamp() == before
    keep(store, "int8", latency_ms=10, mb=200)
    assert one.stamp() != before
    assert planner(store / "nowhere").stamp() == 0


def test_every_model_and_all_of_them_have_a_plan(store: Path) -> None:
    choices = planner(store, model=AUTO).choices(manifests(store))
    assert set(choices.plans) == {TINY, AUTO}
    assert choices.choose(AUTO).name == choices.choose(TINY).name == f"{TINY}:fp32"


@pytest.mark.anyio
async def test_the_engine_serves_by_the_plan(store: Path) -> None:
    engine = LocalEngine(settings(store))
    await engine.start()
    try:
        served = await engine.transcribe(request(talk()[0], model=TINY))
        assert served.manifest.name == f"{TINY}:fp32"
        assert served.reason.startswith("the lowest latency of 2; 50 ms")
        (default,) = [info for info in engine.models() if info.default]
        assert (default.manifest.name, default.reason, default.first) == (f"{TINY}:fp32", served.reason, True)
        assert names(await engine.plan(TINY, Asked(memory_bytes=300 * MB))) == [f"{TINY}:int8"]
        with pytest.raises(ModelNotFound):
            await engine.plan("nope", Asked())
    finally:
        await engine.close()


@pytest.mark.anyio
async def test_the_engine_does_not_start_beyond_a_limit_that_was_set(store: Path) -> None:
    engine = LocalEngine(settings(store, memory=100 * MB))
    with pytest.raises(NothingFits, match=f"200 MB of memory for {TINY}:int8"):
        await engine.start()
    await engine.close()


@pytest.mark.anyio
async def test_the_engine_measures_what_it_knows_nothing_of(store: Path) -> None:
    linked = linked_store(store / "other", f"{TINY}/int8", "silero-vad/fp32")
    engine = LocalEngine(settings(linked, profile_s=300))
    await engine.start()
    plan = await engine.plan(TINY, Asked())
    await engine.close()
    assert names(plan) == [f"{TINY}:int8"]
    assert plan.chosen[0].costs.memory_bytes > 50 * MB
