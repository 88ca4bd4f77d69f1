"""Requests to addresses that clients name: to public ones alone, so that nobody reaches a private network through us.

A name is resolved once, every address of it is checked, and the connection goes to a checked address: a name that
answers differently the second time (DNS rebinding) gains nothing. Redirects are not followed: each is a new request.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

RESOLVE_TIMEOUT_S = 5.0

_UNICAST = IPv6Network("2000::/3")
"""All that is assigned to the public IPv6 network: mapped, NAT64, local and multicast addresses lie outside."""

_SIX_TO_FOUR = IPv6Network("2002::/16")


class DestinationRefused(ValueError):
    """The URL leads where this server does not go; the message is fit for a client and tells no address."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is a host of the public network, and holds no other address that might not be."""
    if isinstance(address, IPv6Address) and (address not in _UNICAST or address in _SIX_TO_FOUR):
        return False
    return address.is_global and not address.is_multicast


def check_url(url: httpx.URL, hosts: frozenset[str] = frozenset()) -> None:
    """Refuse what can be refused without asking a name server; `hosts`, if any, are the only ones allowed.

    Raises:
        DestinationRefused: another scheme, a password in it, no host, or a host that is not listed.
    """
    if url.scheme not in ("http", "https") or not url.host:
        raise DestinationRefused("The URL must begin with http:// or https:// and name a host.")
    if url.userinfo:
        raise DestinationRefused("The URL holds a user name or password. Send one without.")
    if hosts and url.host.lower() not in hosts:
        raise DestinationRefused("This server is not allowed to reach the host of the URL.")


async def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of the host, as the system knows it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class CheckedTransport(httpx.AsyncBaseTransport):
    """Connects to checked addresses only; a host that is listed in `hosts` may be private."""

    def __init__(
        self,
        hosts: frozenset[str] = frozenset(),
        resolver: Resolve = resolve,
        *,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        """Resolve with `resolver`, and trust `certificates`, by default those that httpx does."""
        self._hosts = frozenset(host.lower() for host in hosts)
        self._resolve = resolver
        # No connection is kept: one that was made for a name must not serve another name of the same address.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._inner = httpx.AsyncHTTPTransport(verify=certificates or True, trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer of the first checked address.

        Raises:
            DestinationRefused: the URL, or any address of its host, is not allowed.
            httpx.TransportError: the host is not known or does not answer.
        """
        check_url(request.url, self._hosts)
        address = await self._address(request)
        return await self._inner.handle_async_request(_sent_to(address, request))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _address(self, request: httpx.Request) -> str:
        found = await self._resolved(request)
        if not self._hosts and not all(is_public(ip_address(one)) for one in found):
            raise DestinationRefused("The host of the URL is not on the public network.")
        return found[0]

    async def _resolved(self, request: httpx.Request) -> Sequence[str]:
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await self._resolve(url.host, port)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("The name server did not answer in time.", request=request) from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError("The host of the URL is not known.", request=request) from error
        if not found:
            raise httpx.ConnectError("The host of the URL has no address.", request=request)
        return found


def _sent_to(address: str, request: httpx.Request) -> httpx.Request:
    """The same request to an address: `Host` and the certificate that is asked for stay those of the name."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )


def checked_client(
    timeout: httpx.Timeout, hosts: frozenset[str] = frozenset(), resolver: Resolve = resolve
) -> httpx.AsyncClient:
    """A client for URLs that others name: no proxy or password of the environment, and no redirect by itself."""
    return httpx.AsyncClient(
        transport=CheckedTransport(hosts, resolver), timeout=timeout, trust_env=False, follow_redirects=False
    )
