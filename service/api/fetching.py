"""A URL that a client names in, the bytes of what lies there out, as if the client had uploaded them. Off by default.

Addresses are checked by `service.outbound`, those of redirects too. What is read keeps to the limits of an upload.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, Self

import httpx

from service.api.spool import Spool, Upload
from service.api.uploads import UploadLimits, fill
from service.errors import OptionError, UploadTooLarge, WrenError
from service.outbound import DestinationRefused, checked_client
from service.settings import Settings

MOST_REDIRECTS = 3
CONNECT_S = 10.0

OFF = "This server fetches no recordings from elsewhere, unless WREN_FETCH_URLS is set. Send the bytes of the file"
"""How to, is for each protocol to add."""

_HEADERS = {"User-Agent": "wren", "Accept": "*/*", "Accept-Encoding": "identity"}

_log = logging.getLogger(__name__)


class FetchFailed(WrenError, ValueError):
    """What the URL of a client leads to cannot be had; `why` is refused, unreachable, or a status that is not 200."""

    def __init__(self, why: Literal["refused", "unreachable", "status"], reason: str) -> None:
        self.why = why
        super().__init__(f"The recording cannot be fetched: {reason}")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Whether anything is fetched, from which hosts alone, if any are named, and within what."""

    enabled: bool
    hosts: frozenset[str]
    upload: UploadLimits
    total_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        upload = UploadLimits(settings.max_upload_bytes, settings.upload_idle_s)
        return cls(settings.fetch_urls, frozenset(settings.fetch_hosts), upload, settings.fetch_s)


class Fetcher:
    """Fetches recordings."""

    def __init__(self, limits: FetchLimits, spool: Spool) -> None:
        self._limits, self._spool = limits, spool

    @property
    def enabled(self) -> bool:
        return self._limits.enabled

    def client(self) -> httpx.AsyncClient:
        """What it asks with."""
        timeout = httpx.Timeout(self._limits.upload.idle_s, connect=min(CONNECT_S, self._limits.upload.idle_s))
        return checked_client(timeout, self._limits.hosts)

    @asynccontextmanager
    async def fetched(self, url: str) -> AsyncIterator[Upload]:
        """What lies at the URL, until the block ends.

        Raises:
            OptionError: nothing is fetched here.
            FetchFailed: it cannot be had.
            UploadTooLarge: it has more bytes than an upload may.
        """
        if not self.enabled:
            raise OptionError(f"{OFF}.", param="url")
        upload = Upload(self._spool)
        try:
            await self._fetch(url, upload)
            yield upload
        finally:
            upload.close()

    async def _fetch(self, url: str, upload: Upload) -> None:
        try:
            async with asyncio.timeout(self._limits.total_s):
                # The authorities' certificates take 16 ms to read, which nobody else should wait for.
                async with await asyncio.to_thread(self.client) as client:
                    await self._follow(client, httpx.URL(url), upload)
        except DestinationRefused as error:
            raise FetchFailed("refused", str(error)) from error
        except httpx.InvalidURL as error:
            raise FetchFailed("refused", "The URL is none.") from error
        except TimeoutError as error:
            raise FetchFailed("unreachable", f"It took over {self._limits.total_s:g} s (WREN_FETCH_S).") from error
        except httpx.TimeoutException as error:
            raise FetchFailed("unreachable", "The host of the URL does not answer in time.") from error
        except httpx.TransportError as error:
            _log.info("nothing fetched: %s", error)  # an address may be in it, which is not for clients
            raise FetchFailed("unreachable", "The host of the URL cannot be reached.") from error

    async def _follow(self, client: httpx.AsyncClient, url: httpx.URL, upload: Upload) -> None:
        """Read what is there, or where it leads to; each step is checked like the first."""
        for _ in range(MOST_REDIRECTS + 1):
            async with client.stream("GET", url, headers=_HEADERS) as response:
                if not response.has_redirect_location:
                    await self._read(response, upload)
                    return
                url = url.join(response.headers["location"])
        raise FetchFailed("status", f"The URL leads over more than {MOST_REDIRECTS} redirects.")

    async def _read(self, response: httpx.Response, upload: Upload) -> None:
        if response.status_code != HTTPStatus.OK:
            raise FetchFailed("status", f"Its host answered {response.status_code}, not 200.")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise FetchFailed("status", "Its host sent it compressed, though that was not asked for.")
        await fill(upload, self._pieces(response), spool=self._spool)

    async def _pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        most = self._limits.upload.body_bytes
        announced, received = response.headers.get("content-length", ""), 0
        if announced.isdecimal() and int(announced) > most:
            raise UploadTooLarge(limit_bytes=most)
        async for piece in response.aiter_raw():
            received += len(piece)
            if received > most:
                raise UploadTooLarge(limit_bytes=most)
            yield piece
