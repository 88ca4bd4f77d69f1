"""`GET /v1/models`: the variants of the store, with what the OpenAI object has no word for in extra keys."""

from collections.abc import Sequence
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.selection import names_of, select
from service.engine.types import Engine, ModelInfo


class ModelBody(BaseModel):
    """A model; `serves` is the variant that this id means now, `sha256` has the digest of each of its files."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "wren"
    serves: str
    state: str
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

    def __init__(self, engine: Engine, *, default: str) -> None:
        self._engine = engine
        self._default = default
        self.router = APIRouter(tags=["models"])
        self.router.add_api_route("/v1/models", self.index, methods=["GET"])
        self.router.add_api_route("/v1/models/{model:path}", self.show, methods=["GET"])

    async def index(self) -> ModelList:
        """Every model by its bare name, which lets Wren choose the variant, and every variant."""
        return ModelList(data=list(_listed(self._engine.models(), self._default)))

    async def show(self, model: str) -> ModelBody:
        """One of them, also by an alias such as `whisper-1`."""
        infos = self._engine.models()
        chosen = select(infos, asked=model, default=self._default)
        return _body(model, chosen.expected, self._default)


def _listed(infos: Sequence[ModelInfo], default: str) -> list[ModelBody]:
    bare = [_body(info.manifest.model, info, default) for info in infos if info.default]
    return bare + [_body(info.manifest.name, info, default) for info in infos]


def _body(model_id: str, info: ModelInfo, default: str) -> ModelBody:
    manifest = info.manifest
    return ModelBody(
        id=model_id,
        created=int(manifest.created.timestamp()),
        serves=manifest.name,
        state=info.state,
        precision=manifest.precision,
        bytes=manifest.total_bytes,
        device=info.device,
        runtime=manifest.runtime,
        sha256={file.name: file.sha256 for file in manifest.files},
        languages=list(manifest.languages),
        licence=manifest.license,
        aliases=[name for name in names_of(info, default=default) if name != model_id],
    )
