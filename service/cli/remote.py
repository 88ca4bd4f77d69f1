"""A route of a running server in, its answer out; what it refuses is a line on standard error and status 1."""

from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import quote, urlencode

import typer

from service.cli.options import fail, read_settings
from service.cli.serve import address

if TYPE_CHECKING:
    import httpx
    from pydantic import BaseModel

ServerOption = Annotated[
    str | None,
    typer.Option(help="Where it answers: HOST:PORT or a URL. [WREN_HOST and WREN_PORT]", show_default=False),
]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="Its API key. [the first of WREN_API_KEYS]", show_default=False)
]

CONNECT_S = 10.0
ANSWER_S = 600.0
"""It answers when the work is done: a large variant is loaded, a long recording finished before another is let go."""

Body = TypeVar("Body", bound="BaseModel")


class Remote:
    """The server at an address, by default the one that this environment would start."""

    def __init__(self, server: str | None, key: str | None) -> None:
        self._url, self._key = server_of(server, key)

    def ask(self, kind: type[Body], method: str, path: str, sent: "BaseModel | None" = None) -> Body:
        """The answer; of what is sent only what was set."""
        from pydantic import ValidationError

        answer = self._answer(method, path, sent.model_dump_json(exclude_unset=True) if sent else "")
        if not answer.is_success:
            fail(_refusal(answer))
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError:
            fail(f"What answers at {self._url} is no Wren server, or one of another version.")

    def _answer(self, method: str, path: str, content: str) -> "httpx.Response":
        import httpx

        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = httpx.Timeout(CONNECT_S, read=ANSWER_S)
        try:
            return httpx.request(method, self._url + path, content=content, headers=headers, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            fail(f"No server answers at {self._url}: {reason}. Start it (`wren serve`), or say where it is (--server).")


def server_of(server: str | None, key: str | None) -> tuple[str, str | None]:
    """Its URL without a path, and the key that it takes; None if this environment has none."""
    from service.api.keyring import is_hashed

    settings = read_settings()
    place = server or address(settings.host, settings.port)
    url = place if "://" in place else f"http://{place}"
    return url.rstrip("/").removesuffix("/v1"), key or next((one for one in settings.keys if not is_hashed(one)), None)


def path_of(name: str, what: str, **query: str) -> str:
    """The route that does something with a model."""
    return f"/v1/models/{quote(name, safe='/:')}/{what}" + (f"?{urlencode(query)}" if query else "")


def _refusal(answer: "httpx.Response") -> str:
    from pydantic import ValidationError

    from service.api.errors import ErrorBody

    try:
        return ErrorBody.model_validate_json(answer.content).error.message
    except ValidationError:
        return f"{answer.url} answers with status {answer.status_code}, and not as Wren does."
