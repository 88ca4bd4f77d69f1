import asyncio
from collections.abc import Sequence
from ipaddress import ip_address

import httpx
import pytest

from service.outbound import DestinationRefused, Resolve, check_url, checked_client, is_public

PRIVATE = (
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2001:db8::1",
    "2001::1",
    "2002:7f00:1::",
    "fc00::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff0e::1",
)


def answering(*addresses: str) -> Resolve:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolver


async def get(url: str, resolver: Resolve, hosts: frozenset[str] = frozenset()) -> httpx.Response:
    async with checked_client(httpx.Timeout(5), hosts, resolver) as client:
        return await client.get(url)


async def get_from_loopback(host: str, hosts: frozenset[str]) -> tuple[httpx.Response, bytes]:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        response = await get(f"http://{host}:{port}/a", answering("127.0.0.1"), hosts)
    return response, heard[0]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(DestinationRefused, match="public network"):
        asyncio.run(get("http://audio.test/", answering(address)))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
def test_hosts_of_the_public_network_are_reached(address: str) -> None:
    assert is_public(ip_address(address))


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(DestinationRefused):
        asyncio.run(get("http://audio.test/", answering("8.8.8.8", "10.0.0.1")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "[::1]", "localhost"])
def test_this_machine_is_refused_however_it_is_written(host: str) -> None:
    async def ask() -> None:
        async with checked_client(httpx.Timeout(5)) as client:
            await client.get(f"http://{host}/")

    with pytest.raises(DestinationRefused):
        asyncio.run(ask())


@pytest.mark.parametrize("url", ["ftp://a.test/", "file:///etc/passwd", "http:///a", "https://me:secret@a.test/"])
def test_urls_of_another_kind_are_refused(url: str) -> None:
    with pytest.raises(DestinationRefused):
        check_url(httpx.URL(url))


def test_listed_hosts_alone_are_reached() -> None:
    with pytest.raises(DestinationRefused, match="not allowed"):
        asyncio.run(get("http://other.test/", answering("8.8.8.8"), frozenset({"audio.test"})))


def test_a_listed_host_may_be_private_and_its_redirect_is_not_followed() -> None:
    response, request = asyncio.run(get_from_loopback("audio.test", frozenset({"Audio.test"})))
    assert response.status_code == 302
    assert b"Host: audio.test:" in request


def test_a_name_without_an_address_is_not_known() -> None:
    with pytest.raises(httpx.ConnectError, match="no address"):
        asyncio.run(get("http://audio.test/", answering()))
