from dataclasses import replace

import pytest

from model_store.manifest import File
from service.engine.fake import FakeEngine, model_info
from service.engine.types import ModelInfo
from tests.api.speech import FOX, app_of, client_of

pytestmark = pytest.mark.anyio

INT8 = model_info("fake", "int8", default=True)
FP32 = model_info("fake", "fp32")
INFOS = (FP32, INT8)


async def test_list_has_bare_names_then_variants() -> None:
    async with client_of(app_of(FakeEngine(FOX, infos=INFOS))) as client:
        body = (await client.get("/v1/models")).json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["fake", "fake:fp32", "fake:int8"]
    assert all(model["object"] == "model" and model["owned_by"] == "wren" for model in body["data"])


async def test_model_tells_what_it_is() -> None:
    files = (File(name="encoder.onnx", sha256="a" * 64, bytes=7), File(name="decoder.onnx", sha256="b" * 64, bytes=8))
    info = ModelInfo(INT8.manifest.model_copy(update={"files": files}), "loaded", default=True)
    async with client_of(app_of(FakeEngine(FOX, infos=(info,)))) as client:
        body = (await client.get("/v1/models/fake")).json()
    assert body["serves"] == "fake:int8"
    assert (body["state"], body["precision"], body["bytes"], body["device"]) == ("loaded", "int8", 15, "cpu")
    assert (body["runtime"], body["languages"], body["licence"]) == ("onnxruntime", ["en"], "MIT")
    assert body["sha256"] == {"encoder.onnx": "a" * 64, "decoder.onnx": "b" * 64}
    assert "whisper-1" in body["aliases"]
    assert isinstance(body["created"], int)


async def test_model_tells_how_it_is_in_memory() -> None:
    used = replace(INT8, leases=2, device="cuda", memory_bytes=90_000_000, gpu_memory_bytes=70_000_000, load_ms=312.345)
    idle = replace(FP32, state="failed", failure="The model 'fake:fp32' cannot be loaded: it is broken.")
    async with client_of(app_of(FakeEngine(FOX, infos=(used, idle)))) as client:
        loaded, failed = [(await client.get(f"/v1/models/{name}")).json() for name in ("fake", "fake:fp32")]
    assert (loaded["leases"], loaded["memory_bytes"], loaded["load_ms"]) == (2, 90_000_000, 312.3)
    assert (loaded["device"], loaded["gpu_memory_bytes"]) == ("cuda", 70_000_000)
    assert (loaded["idle_s"], loaded["failure"]) == (None, None)
    assert (failed["state"], failed["memory_bytes"]) == ("failed", None)
    assert failed["failure"].endswith("it is broken.")


@pytest.mark.parametrize(
    ("asked", "serves"), [("fake:fp32", "fake:fp32"), ("whisper-1", "fake:int8"), ("fake%3Afp32", "fake:fp32")]
)
async def test_model_is_found_by_variant_and_alias(asked: str, serves: str) -> None:
    async with client_of(app_of(FakeEngine(FOX, infos=INFOS))) as client:
        body = (await client.get(f"/v1/models/{asked}")).json()
    assert body["serves"] == serves


@pytest.mark.parametrize("asked", ["nope", "openai/nope", "fake:int4"])
async def test_unknown_model_is_404_with_its_code(asked: str) -> None:
    async with client_of(app_of(FakeEngine(FOX, infos=INFOS))) as client:
        answer = await client.get(f"/v1/models/{asked}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "fake:int8" in answer.json()["error"]["message"]


async def test_models_need_the_key() -> None:
    async with client_of(app_of(FakeEngine(FOX), api_keys=("k",))) as client:
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/models", headers={"authorization": "Bearer k"})).status_code == 200
