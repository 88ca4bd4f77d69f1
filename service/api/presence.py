"""Work for a client, dropped when the client leaves."""

from collections.abc import Coroutine
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.racing import Overtaken, unless

T = TypeVar("T")


async def while_present(receive: Receive, work: Coroutine[None, None, T]) -> T:
    """The result of the work. The request's body must have been read: what is received next is the departure.

    Raises:
        ClientDisconnect: the client left first; the work was cancelled.
    """
    try:
        return await unless(_departure(receive), work)
    except Overtaken:
        raise ClientDisconnect from None


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
