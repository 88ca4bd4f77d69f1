"""Who asks: noted once on a connection that was let in, and read by whatever treats clients apart."""

from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.types import Scope as ConnectionScope

from service.api.keyring import ALL_SCOPES
from service.api.keys_file import Scope
from service.api.quota import UNLIMITED, Limits

_STATE_KEY = "wren_caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """The name of the key that let it in, or its address where no key is asked for; never the key."""

    name: str
    scopes: frozenset[Scope] = ALL_SCOPES
    by_key: bool = False
    limits: Limits = UNLIMITED


def note(connection: HTTPConnection, caller: Caller) -> Caller:
    connection.scope.setdefault("state", {})[_STATE_KEY] = caller
    return caller


def noted(scope: ConnectionScope) -> Caller | None:
    """Who it was found to be; None before that, and where nobody asked."""
    caller = scope.get("state", {}).get(_STATE_KEY)
    return caller if isinstance(caller, Caller) else None


def client_of(connection: HTTPConnection) -> str:
    """The name under which the engine shares the machine between clients."""
    caller = noted(connection.scope)
    if caller is None:
        raise TypeError("nobody has checked who this is")
    return caller.name
