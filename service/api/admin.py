"""What changes what is served: `PUT /v1/precision`, `POST /v1/models/ID/load` and `/unload`. For operators."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from service.api.bodies import KeepAlive, documented, read_json, read_keep_alive
from service.api.documented import ASKED, LOADED, failures
from service.api.models import ModelBody, ModelList, model_body
from service.api.precision import PrecisionBody, precision_body
from service.api.selection import CLOUD_NAMES, select
from service.engine.choice import AUTO
from service.engine.precision import Orders
from service.engine.types import Engine, Governed

CHANGED = ASKED | LOADED | failures(413)

Variant = Annotated[str, Field(min_length=1)]


class OrdersForm(BaseModel):
    """An operator's orders. A field that is left out keeps what is in force, null takes it back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Variant = Field(default=AUTO, description="A model; `auto` is what clients get by default.")
    pin: Variant | None = Field(default=None, description="The variant that serves: `int8`, its name, `model:variant`.")
    highest: Variant | None = Field(default=None, description="The best variant that may serve.")
    lowest: Variant | None = Field(default=None, description="The quickest variant that may serve.")

    def over(self, present: Orders) -> Orders:
        """The orders in force with these in their place."""
        given = self.model_fields_set
        return Orders(
            pin=self.pin if "pin" in given else present.pin,
            highest=self.highest if "highest" in given else present.highest,
            lowest=self.lowest if "lowest" in given else present.lowest,
        )


class LoadForm(BaseModel):
    """How to load a variant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep_alive: KeepAlive = Field(
        default=None, description="How long it stays without use: seconds, `5m`, 0, -1 for ever."
    )


class AdminRoutes:
    """The routes that give the engine orders; each answers when it is done."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.router = APIRouter(tags=["operation"])
        self.router.add_api_route(
            "/v1/precision", self.order, methods=["PUT"], responses=CHANGED, openapi_extra=documented(OrdersForm)
        )
        self.router.add_api_route(
            "/v1/models/{model:path}/load",
            self.load,
            methods=["POST"],
            responses=CHANGED,
            openapi_extra=documented(LoadForm),
        )
        self.router.add_api_route("/v1/models/{model:path}/unload", self.unload, methods=["POST"], responses=CHANGED)

    async def order(self, request: Request) -> PrecisionBody:
        """Pin a variant, take the pin back, or set bounds; answers as GET does when the switch is done."""
        form = await read_json(request, OrdersForm)
        model, present = _addressed(self._engine.precision().models, form.model)
        return precision_body(await self._engine.order(model, form.over(present)))

    async def load(
        self,
        request: Request,
        model: str,
        *,
        keep_alive: Annotated[str | None, Query(description="As in the body.")] = None,
    ) -> ModelBody:
        """Have a variant in memory, warm and tested; of a bare model the one that serves it."""
        form = await read_json(request, LoadForm)
        stay_s = form.keep_alive if "keep_alive" in form.model_fields_set else read_keep_alive(keep_alive)
        name = select(self._engine.models(), asked=model).model
        return model_body(model, await self._engine.load_model(name, keep_alive_s=stay_s))

    async def unload(self, model: str) -> ModelList:
        """Take a variant out of memory, of a bare model all, when the last request that uses it is answered."""
        name = select(self._engine.models(), asked=model).model
        gone = await self._engine.unload_model(name)
        return ModelList(data=[model_body(info.manifest.name, info) for info in gone])


def _addressed(models: Sequence[Governed], name: str) -> tuple[str, Orders]:
    """The engine's name for a model, and the orders that are in force for it. A variant stands for its model."""
    name, first = name.partition(":")[0], models[0] if models else None
    if name in (AUTO, *CLOUD_NAMES) or (first and first.model == name):
        return AUTO, first.orders if first else Orders()
    return name, next((one.orders for one in models if one.model == name), Orders())
