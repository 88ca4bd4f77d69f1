"""Recordings from URLs: over real sockets, with hosts that are named to lead to this machine."""

import asyncio
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from service.api.fetching import Fetcher, FetchFailed, FetchLimits
from service.api.spool import Spool, Upload
from service.api.uploads import UploadLimits
from service.engine.fake import FakeEngine
from service.errors import OptionError, UploadTooLarge
from service.outbound import CheckedTransport
from tests.api.speech import FOX, app_of, client_of

pytestmark = pytest.mark.anyio

AUDIO = b"any bytes " * 500
HOST = "audio.test"

Answers = Mapping[str, bytes | None]
"""By path: what is sent; None for nothing at all."""


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    named = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return "\r\n".join([f"HTTP/1.1 {status}", *map(": ".join, named.items()), "", ""]).encode() + body


def moved(location: str) -> bytes:
    return answer("302 Found", Location=location)


@asynccontextmanager
async def elsewhere(
    answers: Answers, *, heard: list[str] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port of a server that answers so, and closes; `heard` gets the heads of requests."""
    over, serving = asyncio.Event(), set[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            (heard if heard is not None else []).append(head)
            sent = answers[head.split()[1]]
            if sent is None:
                await over.wait()
            writer.write(sent or b"")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        port: int = server.sockets[0].getsockname()[1]
        yield port
    finally:
        over.set()
        server.close()
        await asyncio.gather(*filter(None, serving))


async def here(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


class NamedFetcher(Fetcher):
    """Finds every name on this machine; the host that is listed may be there."""

    certificates: ssl.SSLContext | None = None

    def client(self) -> httpx.AsyncClient:
        transport = CheckedTransport(frozenset({HOST}), here, certificates=self.certificates)
        return httpx.AsyncClient(transport=transport, timeout=0.3, trust_env=False)


def fetcher(
    *, most: int = 10**6, total_s: float = 5.0, spool: int = 10**6, kind: type[NamedFetcher] = NamedFetcher
) -> NamedFetcher:
    return kind(FetchLimits(True, frozenset({HOST}), UploadLimits(most, 0.3), total_s), Spool(spool))


async def fetch(url: str, one: Fetcher | None = None) -> bytes | Path:
    async with (one or fetcher()).fetched(url) as upload:
        return upload.audio()


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_what_lies_there_is_an_upload_like_any_other() -> None:
    heard: list[str] = []
    async with elsewhere({"/a.wav?x=1": answer("200 OK", AUDIO)}, heard=heard) as port:
        assert await fetch(f"http://{HOST}:{port}/a.wav?x=1") == AUDIO
    assert f"Host: {HOST}:{port}" in heard[0]
    assert "python" not in heard[0]


async def test_what_is_large_is_a_file_until_it_was_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with elsewhere({"/a": answer("200 OK", AUDIO), "/b": answer("500 No", AUDIO)}) as port:
        async with fetcher(spool=100).fetched(f"http://{HOST}:{port}/a") as upload:
            path = upload.audio()
            assert isinstance(path, Path)
            assert path.read_bytes() == AUDIO
        with pytest.raises(FetchFailed):
            await fetch(f"http://{HOST}:{port}/b")
    assert left_in(tmp_path) == []


async def test_three_redirects_are_followed_and_no_more() -> None:
    chain = {f"/{number}": moved(f"/{number + 1}") for number in range(4)}
    async with elsewhere({**chain, "/4": answer("200 OK", AUDIO)}) as port:
        assert await fetch(f"http://{HOST}:{port}/1") == AUDIO
        with pytest.raises(FetchFailed, match="more than 3 redirects"):
            await fetch(f"http://{HOST}:{port}/0")


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:{port}/secret", "http://10.0.0.1/", "http://other.test/", "file:///etc/passwd", "//[::1]/"],
)
async def test_a_redirect_is_checked_like_the_first_address(location: str) -> None:
    heard: list[str] = []
    answers: dict[str, bytes | None] = {}
    async with elsewhere(answers, heard=heard) as port:
        answers["/"] = moved(location.format(port=port))
        with pytest.raises(FetchFailed) as failed:
            await fetch(f"http://{HOST}:{port}/")
    assert failed.value.why == "refused"
    assert len(heard) == 1


@pytest.mark.parametrize(
    "url", ["", "a.wav", "ftp://audio.test/", "http://[::1", "http://u:p@audio.test/", "http://\0/"]
)
async def test_what_is_no_url_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(FetchFailed) as failed:
        await fetch(url)
    assert failed.value.why == "refused"


@pytest.mark.parametrize(
    ("sent", "why", "reason"),
    [
        (answer("404 Not Found", b"gone"), "status", "404, not 200"),
        (answer("206 Partial", b"part"), "status", "206, not 200"),
        (answer("200 OK", b"packed", Content_Encoding="gzip"), "status", "compressed"),
        (answer("200 OK", b"half", Content_Length="100"), "unreachable", "cannot be reached"),
        (b"no protocol", "unreachable", "cannot be reached"),
        (b"", "unreachable", "cannot be reached"),
        (None, "unreachable", "in time"),
    ],
)
async def test_what_cannot_be_had_says_why(sent: bytes | None, why: str, reason: str) -> None:
    async with elsewhere({"/": sent}) as port:
        with pytest.raises(FetchFailed, match=reason) as failed:
            await fetch(f"http://{HOST}:{port}/")
    assert failed.value.why == why
    assert "127.0.0.1" not in str(failed.value)


async def test_nobody_there_tells_no_address() -> None:
    async with elsewhere({}) as port:
        pass
    with pytest.raises(FetchFailed, match="cannot be reached") as failed:
        await fetch(f"http://{HOST}:{port}/")
    assert "127.0.0.1" not in str(failed.value)


@pytest.mark.parametrize(
    "sent",
    [answer("200 OK", AUDIO), b"HTTP/1.1 200 OK\r\n\r\n" + AUDIO],
    ids=["announced", "not announced"],
)
async def test_more_than_an_upload_may_have_is_not_read(sent: bytes) -> None:
    async with elsewhere({"/": sent}) as port:
        with pytest.raises(UploadTooLarge):
            await fetch(f"http://{HOST}:{port}/", fetcher(most=len(AUDIO) - 1))
        assert await fetch(f"http://{HOST}:{port}/", fetcher(most=len(AUDIO))) == AUDIO


async def test_a_host_that_drips_has_only_so_long() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            for _ in range(40):
                writer.write(b"a")
                await asyncio.sleep(0.02)
        writer.close()
        done.set()

    done = asyncio.Event()
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(FetchFailed, match="WREN_FETCH_S"):
            await fetch(url, fetcher(total_s=0.2))
        await done.wait()


async def test_nothing_is_fetched_unless_that_is_set() -> None:
    off = Fetcher(FetchLimits(False, frozenset(), UploadLimits(10, 1), 1), Spool(10))
    with pytest.raises(OptionError, match="WREN_FETCH_URLS"):
        await fetch("http://audio.test/", off)


def certificate(folder: Path, *, name: str) -> tuple[Path, Path]:
    """For this name, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    made, key = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "2"]
    subprocess.run([*command, *names, "-out", str(made), "-keyout", str(key)], check=True, capture_output=True)
    return made, key


@pytest.mark.parametrize(
    ("name", "trusted", "right"), [(HOST, True, True), (HOST, False, False), ("b.test", True, False)]
)
async def test_the_certificate_is_that_of_the_name_and_not_of_the_address(
    tmp_path: Path, name: str, *, trusted: bool, right: bool
) -> None:
    made, key = certificate(tmp_path, name=name)
    asked: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made, key)
    tls.sni_callback = lambda _socket, asked_name, _context: asked.append(asked_name)

    class Trusting(NamedFetcher):
        certificates = ssl.create_default_context(cafile=str(made)) if trusted else None

    async with elsewhere({"/": answer("200 OK", AUDIO)}, tls=tls) as port:
        fetched = fetch(f"https://{HOST}:{port}/", fetcher(kind=Trusting))
        if right:
            assert await fetched == AUDIO
        else:
            with pytest.raises(FetchFailed, match="cannot be reached"):
                await fetched
    assert asked == [HOST]


Sending = Callable[[httpx.AsyncClient, str], "asyncio.Future[httpx.Response]"]


async def to_openai(client: httpx.AsyncClient, url: str) -> httpx.Response:
    return await client.post("/v1/audio/transcriptions", data={"model": "fake", "url": url}, files={"x": (None, b"y")})


async def to_deepgram(client: httpx.AsyncClient, url: str) -> httpx.Response:
    return await client.post("/v1/listen", json={"url": url})


@pytest.mark.parametrize("send", [to_openai, to_deepgram])
async def test_both_protocols_fetch(send: Sending) -> None:
    engine = FakeEngine(FOX)
    app = app_of(engine, fetch_urls=True, fetch_hosts="127.0.0.1")
    async with elsewhere({"/": answer("200 OK", AUDIO), "/e": answer("200 OK")}) as port, client_of(app) as client:
        fetched, empty = (
            await send(client, f"http://127.0.0.1:{port}/"),
            await send(client, f"http://127.0.0.1:{port}/e"),
        )
        refused = await send(client, "http://localhost/")
    assert fetched.status_code == 200
    assert "fetch;dur=" in fetched.headers["server-timing"]
    assert [asked.audio for asked in engine.requests] == [AUDIO]
    assert (empty.status_code, refused.status_code) == (400, 400)
    assert "empty" in empty.text
    body = refused.json()
    assert body.get("err_code", "REMOTE_CONTENT_ERROR") == "REMOTE_CONTENT_ERROR"
    assert body.get("error", {"code": "url_refused"})["code"] == "url_refused"
    assert "not allowed" in refused.text


@pytest.mark.parametrize("send", [to_openai, to_deepgram])
async def test_without_the_setting_the_answer_names_it(send: Sending) -> None:
    async with client_of(app_of(FakeEngine(FOX))) as client:
        refused = await send(client, "http://127.0.0.1/")
    assert refused.status_code == 400
    assert "WREN_FETCH_URLS" in refused.text


@pytest.mark.parametrize("send", [to_openai, to_deepgram])
async def test_private_hosts_that_are_not_listed_are_refused(send: Sending) -> None:
    async with client_of(app_of(FakeEngine(FOX), fetch_urls=True)) as client:
        refused = await send(client, "http://127.0.0.1/")
    assert refused.status_code == 400
    assert "public network" in refused.text


async def test_a_file_and_a_url_are_one_too_many_where_urls_mean_something() -> None:
    form = {"data": {"model": "fake", "url": "http://a.test/"}, "files": {"file": ("a.wav", AUDIO)}}
    for fetch_urls, status in ((False, 200), (True, 400)):
        async with client_of(app_of(FakeEngine(FOX), fetch_urls=fetch_urls)) as client:
            answered = await client.post("/v1/audio/transcriptions", **form)  # type: ignore[arg-type]
        assert answered.status_code == status


async def test_who_leaves_meanwhile_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Upload] = []
    close = Upload.close

    def closing(upload: Upload) -> None:
        closed.append(upload)
        close(upload)

    monkeypatch.setattr(Upload, "close", closing)
    heard: list[str] = []
    app = app_of(FakeEngine(FOX), fetch_urls=True, fetch_hosts="127.0.0.1")
    async with elsewhere({"/": None}, heard=heard) as port, client_of(app) as client:
        asking = asyncio.create_task(to_deepgram(client, f"http://127.0.0.1:{port}/"))
        async with asyncio.timeout(5):
            while not heard:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert len(closed) == 1


async def test_the_description_has_urls_where_they_are_fetched() -> None:
    for fetching in (False, True):
        async with client_of(app_of(FakeEngine(FOX), fetch_urls=fetching)) as client:
            paths = (await client.get("/openapi.json")).json()["paths"]
        assert ("application/json" in paths["/v1/listen"]["post"]["requestBody"]["content"]) == fetching
        form = paths["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert ("anyOf" in form) == fetching
