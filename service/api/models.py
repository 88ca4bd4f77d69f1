"""`GET /v1/models`: the variants of the store, with what the OpenAI object has no word for in extra keys."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.documented import failures
from service.api.selection import find, names_of
from service.engine.types import Engine, ModelInfo, State


class ModelBody(BaseModel):
    """A model; `serves` is the variant that this id means now, and the rest is that variant's.

    `bytes` are on the disk, `memory_bytes` what the process grew by; `sha256` has the digest of each file.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "wren"
    serves: str
    state: State
    leases: int
    memory_bytes: int | None
    gpu_memory_bytes: int | None
    load_ms: float | None
    idle_s: float | None
    failure: str | None
    precision: str
    bytes: int
    device: str
    runtime: str
    sha256: dict[str, str]
    languages: list[str]
    licence: str
    aliases: list[str]


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


class ModelRoutes:
    """The two routes over what the engine has."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.router = APIRouter(tags=["models"])
        self.router.add_api_route("/v1/models", self.index, methods=["GET"])
        self.router.add_api_route("/v1/models/{model:path}", self.show, methods=["GET"], responses=failures(404))

    async def index(self) -> ModelList:
        """Every model by its bare name, which lets Wren choose the variant, and every variant."""
        infos = self._engine.models()
        bare = [model_body(info.manifest.model, info) for info in infos if info.default]
        return ModelList(data=bare + [model_body(info.manifest.name, info) for info in infos])

    async def show(self, model: str) -> ModelBody:
        """One of them, also by an alias such as `whisper-1`."""
        return model_body(model, find(self._engine.models(), model))


def model_body(model_id: str, info: ModelInfo) -> ModelBody:
    manifest = info.manifest
    return ModelBody(
        id=model_id,
        created=int(manifest.created.timestamp()),
        serves=manifest.name,
        state=info.state,
        leases=info.leases,
        memory_bytes=info.memory_bytes,
        gpu_memory_bytes=info.gpu_memory_bytes,
        load_ms=None if info.load_ms is None else round(info.load_ms, 1),
        idle_s=None if info.idle_s is None else round(info.idle_s, 1),
        failure=info.failure,
        precision=manifest.precision,
        bytes=manifest.total_bytes,
        device=info.device,
        runtime=manifest.runtime,
        sha256={file.name: file.sha256 for file in manifest.files},
        languages=list(manifest.languages),
        licence=manifest.license,
        aliases=[name for name in names_of(info) if name != model_id],
    )
