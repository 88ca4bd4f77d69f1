"""A variant on torch in the engine, on the CPU: what a GPU adds is where its tensors are."""

import asyncio
import math
from pathlib import Path
from shutil import copytree

import pytest

from model_store.compress.recipe import shipped
from model_store.manifest import FILE_NAME, Manifest
from model_store.registry import Registry, describe
from service.engine.attempt import NotTried
from service.engine.device import Gpu, Gpus, read_device
from service.engine.engine import LocalEngine
from service.engine.forming import EncodeCosts, Layout, Point
from service.engine.gpu import CPU_SERVES, read_gpus
from service.engine.loading import Loader
from service.engine.planner import Planner
from service.engine.precision import Orders
from service.engine.profile import Profile, Service, Timings, costs
from service.engine.survey import Surveyor
from service.errors import DeviceUnavailable
from service.settings import Settings
from tests.engine.recordings import TINY, talk, text_of
from tests.engine.stores import linked_store
from tests.store import STORE
from tests.torch_variants import torch_folder

MIB = 2**20
NONE = Gpus((), "WREN_DEVICE=cpu", asked="cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = linked_store(tmp_path_factory.mktemp("store"), f"{TINY}/int8", "silero-vad/fp32")
    recipe, folder = shipped("bf16-torch"), store / TINY / "bf16-torch"
    copytree(torch_folder(TINY, recipe.name), folder)
    known = {"variant": recipe.name, "parent": "fp32", "precision": recipe.precision, "runtime": recipe.runtime}
    made = Registry(STORE).get(TINY, "fp32").model_copy(update=known)
    (folder / FILE_NAME).write_text(describe(made, folder).model_dump_json())
    return store


def manifest(store: Path) -> Manifest:
    return Registry(store).get(TINY, "bf16-torch")


def test_it_is_measured_and_loaded_like_any_other(store: Path) -> None:
    loader = Loader(Registry(store), read_device(gpus=NONE), threads=2, executors=None)
    hosted = loader.measure(manifest(store))
    backend = hosted.recognizer.backend
    assert loader.layout in (Layout(1, 2), Layout(2, 1))
    assert 1 <= hosted.profile.rows <= backend.decoder_rows
    assert (backend.device_bytes, backend.memory_bytes > 50 * MIB) == (0, True)
    assert loader.renew(hosted).recognizer.backend.takes_samples
    backend.close()


@pytest.mark.parametrize(("gpus", "taken"), [((), True), ((Gpu("T4", 2**34, 2**34),), False)])
def test_what_was_measured_on_the_cpu_is_not_taken_over_on_a_gpu(
    store: Path, tmp_path: Path, gpus: tuple[Gpu, ...], *, taken: bool
) -> None:
    own = linked_store(tmp_path, f"{TINY}/int8")
    (own / TINY / "bf16-torch").symlink_to(store / TINY / "bf16-torch")
    loader = Loader(Registry(own), read_device(gpus=Gpus(gpus, "", asked="auto")), threads=1, executors=1)
    loader.settle(Registry(own).get(TINY, "int8"))
    assert loader.load(manifest(own)).profile.reason.startswith(f"as {TINY}:int8: ") == taken


def test_a_gpu_that_was_asked_for_and_is_not_there_is_told(store: Path) -> None:
    asked = read_device(gpus=Gpus((), "none", asked="cuda:7"))
    with pytest.raises(DeviceUnavailable, match=r"loaded: WREN_DEVICE=cuda:7 cannot be had: .*wren doctor"):
        Loader(Registry(store), asked, threads=1, executors=1).load(manifest(store))
    with pytest.raises(DeviceUnavailable):
        Loader(Registry(store), asked, threads=1, executors=None).measure(manifest(store))


def test_that_a_gpu_is_missing_is_not_held_against_it(store: Path) -> None:
    asked = read_device(gpus=Gpus((), "none", asked="cuda:7"))
    surveyor = Surveyor(Registry(store), asked, threads=1)
    with pytest.raises(NotTried, match="WREN_DEVICE=cuda:7 cannot be had"):
        surveyor.measure(manifest(store))
    assert surveyor.profiles.refusal(manifest(store), surveyor.conditions) is None


def test_it_is_profiled_and_planned_with(store: Path) -> None:
    device, settings = read_device(gpus=NONE), Settings(store=store, model=TINY, threads=1, max_wer_loss=math.inf)
    surveyor = Surveyor(Registry(store), device, threads=1)
    profile = surveyor.measure(manifest(store))
    found = costs(profile)
    assert found is not None
    assert (found.gpu_bytes, found.memory_bytes > 100 * MIB, found.latency_ms > 1) == (0, True, True)
    (chosen,) = Planner(Registry(store), device, settings).plan([manifest(store)]).chosen
    assert chosen.costs == found


@pytest.mark.parametrize(("rows", "gpu_bytes"), [(1, 700), (5, 660), (50, 600)])
def test_of_a_gpu_one_row_counts_and_no_less_than_when_it_was_idle(rows: int, gpu_bytes: int) -> None:
    timings = Timings(steps=(), load_ms=1, row_bytes=10, speed=1)
    service = Service(1, 1, 1, 0, latency_ms=1, gpu_idle_bytes=600, gpu_bytes=700)
    profile = Profile(EncodeCosts((Point(1, 500, 1.0),)), rows, "", 1, timings=timings, service=service)
    found = costs(profile)
    assert found is not None
    assert found.gpu_bytes == gpu_bytes


@pytest.mark.anyio
async def test_it_serves_in_turn_with_others_while_requests_come(store: Path) -> None:
    names = (f"{TINY}:int8", f"{TINY}:bf16-torch")
    engine = LocalEngine(
        Settings(store=store, model=TINY, ladder=("bf16-torch", "int8"), threads=2, profile_s=0, device="cpu")
    )
    await engine.start()
    try:
        alone = {await text_of(engine, talk()[2], model=name) for name in names}
        heard = [asyncio.create_task(text_of(engine, talk()[2], model=TINY)) for _ in range(4)]
        for name in (*names, *names):
            await engine.order(TINY, Orders(pin=name))
            heard.append(asyncio.create_task(text_of(engine, talk()[2], model=TINY)))
        assert {await one for one in heard} <= alone
        await engine.unload_model(names[0])
        states = {info.manifest.name: (info.state, info.device) for info in engine.models()}
        assert states == {names[0]: ("available", "cpu"), names[1]: ("loaded", "cpu")}
    finally:
        await engine.close()


@pytest.mark.anyio
@pytest.mark.skipif(bool(read_gpus().gpus), reason="there is a GPU")
async def test_without_the_gpu_that_was_asked_for_one_warning_and_nothing_is_available_on_it(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = linked_store(tmp_path, f"{TINY}/int8", "silero-vad/fp32")
    (own / TINY / "bf16-torch").symlink_to(store / TINY / "bf16-torch")
    engine = LocalEngine(Settings(store=own, model=TINY, threads=1, profile_s=0.1, device="cuda"))
    await engine.start()
    try:
        found = {info.manifest.name: info for info in engine.models()}
    finally:
        await engine.close()
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [f"no GPU is used (WREN_DEVICE=cuda): {read_gpus('cuda').reason}; {CPU_SERVES}"]
    assert (found[f"{TINY}:int8"].state, found[f"{TINY}:bf16-torch"].state) == ("loaded", "failed")
    assert "needs a GPU, for WREN_DEVICE=cuda" in (found[f"{TINY}:bf16-torch"].failure or "")
