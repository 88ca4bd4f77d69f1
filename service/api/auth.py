"""Who may call: the places where a client can put its key in, who it is out. The same for HTTP and WebSockets.

Pure but for the functions that read a connection. Browsers cannot set headers on a WebSocket, hence
subprotocols and the query.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from service.api.client import Caller, note
from service.api.keyring import Keyring
from service.api.keys_file import Scope
from service.errors import WrenError

_SCHEMES = ("bearer", "token")
_OPENAI_SUBPROTOCOL = "openai-insecure-api-key."
DEEPGRAM_SUBPROTOCOLS = ("token", "bearer")
QUERY_NAMES = ("api_key", "token")
"""Parameters that a key may be in; `token` is Deepgram's."""

_MOST_ORIGIN = 36
"""Characters of an origin that are told: what to do must fit into the reason of a close."""


class InvalidKey(WrenError, PermissionError):
    """The server has keys and the client sent none of them."""

    def __init__(self, *, given: bool) -> None:
        what = "The API key is not valid here" if given else "An API key is needed and none was sent"
        super().__init__(f"{what}. Send 'Authorization: Bearer KEY' with a key of WREN_API_KEYS.")


class InsufficientScope(WrenError, PermissionError):
    """The key is valid and not for this."""

    def __init__(self, *, name: str, needed: Scope) -> None:
        super().__init__(f"The API key {name!r} may not do this: it needs the scope {needed!r}.")


class NotLocal(WrenError, PermissionError):
    """The server has no keys, and somebody from elsewhere wants to do what is for operators."""

    def __init__(self) -> None:
        super().__init__(
            "Without API keys only a program on the server's own machine may do what is for operators. "
            "Set WREN_API_KEYS and send one of them, or ask from there."
        )


class ForeignOrigin(WrenError, PermissionError):
    """The server has no keys, and a page that is not its own wants to open a WebSocket, which no browser forbids it."""

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"Pages of {origin[:_MOST_ORIGIN]!r} may not stream here: "
            "list it in WREN_CORS_ORIGINS, or set WREN_API_KEYS."
        )


def presented_key(
    *, authorization: str | None = None, subprotocols: Sequence[str] = (), query_key: str | None = None
) -> str | None:
    """The key a client sent: in the Authorization header (Bearer or Token), else a subprotocol, else the query."""
    scheme, _, key = (authorization or "").strip().partition(" ")
    if scheme.lower() in _SCHEMES and key.strip():
        return key.strip()
    for protocol in subprotocols:
        if protocol.startswith(_OPENAI_SUBPROTOCOL):
            return protocol.removeprefix(_OPENAI_SUBPROTOCOL)
    if len(subprotocols) >= 2 and subprotocols[0].lower() in DEEPGRAM_SUBPROTOCOLS:
        return subprotocols[1]
    return query_key or None


def check(connection: HTTPConnection, keyring: Keyring, *, needed: Scope = "transcribe") -> Caller:
    """Let a request or a WebSocket pass, and say whose it is. A key that may operate may transcribe.

    Where no keys are asked for, what a client sends as one is its own invention: it could have a share of the machine
    a request.

    Raises:
        InvalidKey: there are keys and it has none of them.
        InsufficientScope: it has one that is not for this.
        ForeignOrigin: there are none, and a page from elsewhere opens a WebSocket.
    """
    if not keyring.guarded:
        if connection.scope["type"] == "websocket":
            _check_origin(connection)
        return note(connection, Caller(connection.client.host if connection.client else ""))
    presented = key_of(connection)
    key = keyring.find(presented) if presented is not None else None
    if key is None:
        raise InvalidKey(given=presented is not None)
    if not key.scopes & {needed, "admin"}:
        raise InsufficientScope(name=key.name, needed=needed)
    return note(connection, Caller(key.name, key.scopes, by_key=True, limits=key.limits))


def welcome(app: Starlette, origins: Sequence[str]) -> None:
    """Let pages of these origins open WebSockets of the app; `*` stands for all."""
    app.state.origins = tuple(origins)


def _check_origin(websocket: HTTPConnection) -> None:
    app = websocket.scope.get("app")
    welcomed: Sequence[str] = getattr(app.state, "origins", ()) if isinstance(app, Starlette) else ()
    origin = websocket.headers.get("origin", "")
    if _is_foreign_page(websocket) and not {origin, "*"} & set(welcomed):
        raise ForeignOrigin(origin)


def check_operator(connection: HTTPConnection, keyring: Keyring) -> Caller:
    """Let a request pass that is for operators: with a key for it, or where there are none from this machine.

    A page that a browser on this machine happens to show is not from this machine, whatever name it has its own server
    known by.

    Raises:
        InvalidKey: there are keys and it has none of them.
        InsufficientScope: its key is not for this.
        NotLocal: there are none, and it comes from elsewhere.
    """
    caller = check(connection, keyring, needed="admin")
    foreign = _is_foreign_page(connection)
    if not keyring.guarded and (foreign or not is_loopback(caller.name)):
        raise NotLocal
    return caller


def _is_foreign_page(connection: HTTPConnection) -> bool:
    """Whether a browser sent it for a page that did not come from this server."""
    origin, host = connection.headers.get("origin"), connection.headers.get("host", "")
    return origin is not None and (_authority(origin) != host or not _is_own(host))


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # half an IPv6 address
        return ""


def _is_own(host: str) -> bool:
    """Whether a Host header has a name that nobody from elsewhere can have made lead here, as they can a domain."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ip_address(name))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address is that of the machine itself, also an IPv4 one that came over IPv6."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def key_of(connection: HTTPConnection) -> str | None:
    """The key that came with a request or a WebSocket, right or wrong."""
    protocols = connection.headers.get("sec-websocket-protocol", "")
    query = connection.query_params
    return presented_key(
        authorization=connection.headers.get("authorization"),
        subprotocols=[item.strip() for item in protocols.split(",") if item.strip()],
        query_key=next((query[name] for name in QUERY_NAMES if name in query), None),
    )
