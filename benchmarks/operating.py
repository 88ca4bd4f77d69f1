"""What an operator does to a running server: pin a variant, load one, unload one, look at what serves and why."""

from types import TracebackType
from typing import Self

import httpx
from pydantic import BaseModel

from benchmarks.clients import ROUTE
from benchmarks.servers import Server

RUNGS = ("fp32", "int8")
"""The ladder of whisper-tiny.en that is measured, the best first, where no other is asked for."""

MODEL = "whisper-tiny.en"


class Signals(BaseModel):
    """What the policy saw at its last look."""

    queue_delay_ms: float
    offered: float
    speed: float | None
    refused: int


class Rung(BaseModel):
    """A variant that may serve; its figures are those of this machine, null where there are none."""

    id: str
    speed: float | None
    latency_ms: float | None
    memory_bytes: int | None
    wer_loss: float | None


class Serving(BaseModel):
    """A model, and the variant that answers to it now."""

    model: str
    serving: str
    reason: str
    rungs: tuple[Rung, ...]


class Look(BaseModel):
    """The part of `GET /v1/precision` that is looked at here; the model that clients get by default comes first."""

    models: tuple[Serving, ...]
    signals: Signals
    resident_bytes: int

    @property
    def serving(self) -> str:
        """The variant alone."""
        return self.models[0].serving.partition(":")[2]


class Listed(BaseModel):
    """The part of a line of `GET /v1/models` that is looked at here."""

    id: str
    serves: str
    state: str
    device: str
    gpu_memory_bytes: int | None


class Models(BaseModel):
    """`GET /v1/models`."""

    data: tuple[Listed, ...]


class Refused(Exception):
    """An order was not carried out; the message has the status, the code and the server's reason."""

    def __init__(self, reply: httpx.Response) -> None:
        error = reply.json()["error"]
        self.status, self.code, self.reason = reply.status_code, str(error["code"]), str(error["message"])
        super().__init__(f"{self.status} {self.code}: {self.reason}")


class Operator:
    """Each order returns when it is carried out.

    Raises:
        Refused: the server says no.
    """

    def __init__(self, server: Server) -> None:
        self._http = server.client()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, e, at)

    async def look(self) -> Look:
        return Look.model_validate(_obeyed(await self._http.get("/v1/precision")).json())

    async def waiting_s(self) -> float:
        """Seconds of audio in work."""
        return float((await self._http.get("/health/ready")).json()["waiting_s"])

    async def gpu_bytes(self) -> int:
        """What the weights of all variants in memory take on GPUs."""
        return sum(one.gpu_memory_bytes or 0 for one in await self._variants())

    async def devices(self) -> dict[str, str]:
        """Where each variant in memory computes."""
        return {one.id: one.device for one in await self._variants() if one.state == "loaded"}

    async def _variants(self) -> list[Listed]:
        """Without the names that mean one of them."""
        listed = Models.model_validate(_obeyed(await self._http.get("/v1/models")).json()).data
        return [one for one in listed if one.id == one.serves]

    async def pin(self, variant: str | None, *, model: str | None = None) -> None:
        order = {"pin": variant} | ({"model": model} if model else {})
        _obeyed(await self._http.put("/v1/precision", json=order))

    async def load(self, name: str) -> None:
        _obeyed(await self._http.post(f"/v1/models/{name}/load"))

    async def unload(self, name: str) -> None:
        _obeyed(await self._http.post(f"/v1/models/{name}/unload"))

    async def transcribe(self, name: str, audio: bytes) -> str:
        """The text that a variant makes of a recording."""
        form, files = {"model": name, "language": "en"}, {"file": ("clip", audio)}
        return str(_obeyed(await self._http.post(ROUTE, data=form, files=files)).json()["text"])


def _obeyed(reply: httpx.Response) -> httpx.Response:
    if reply.is_error:
        raise Refused(reply)
    return reply
