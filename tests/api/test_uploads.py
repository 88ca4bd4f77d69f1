import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service.api.spool import Spool
from service.api.uploads import MAX_PARTS, UploadForm, UploadLimits, UploadStalled, read_form
from service.errors import OptionError, UploadTooLarge

pytestmark = pytest.mark.anyio

FILE_HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
END = b"\r\n--B--\r\n"


@pytest.fixture(autouse=True)
def spool_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def field(name: str, value: bytes) -> bytes:
    return b'--B\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + value + b"\r\n"


def request_of(
    *chunks: bytes, headers: dict[str, str] | None = None, leaves: bool = False, stalls: bool = False
) -> Request:
    """A request whose body comes in these chunks; then it ends, or the client `leaves`, or `stalls`."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b""})
    waiting = iter(messages[:-1] if stalls else messages)

    async def receive() -> Message:
        message = next(waiting, None)
        if message is None:
            await asyncio.Event().wait()
            raise AssertionError
        return message

    given = {"content-type": "multipart/form-data; boundary=B", **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


@pytest.mark.parametrize("encoding", ["gzip", "deflate, gzip", "BR"])
async def test_a_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(HTTPException, match=encoding.lower()) as refused:
        async for _ in forms(request_of(b"any", headers={"content-encoding": encoding})):
            pass
    assert refused.value.status_code == 415


async def forms(
    request: Request, *, limit: int = 10_000, spool: int | Spool = 10_000, idle_s: float = 5
) -> AsyncIterator[UploadForm]:
    shared = spool if isinstance(spool, Spool) else Spool(spool)
    async with read_form(request, limits=UploadLimits(limit, idle_s), spool=shared) as form:
        yield form


async def refusal(request: Request, *, limit: int = 10_000) -> Exception:
    with pytest.raises((HTTPException, OptionError, UploadTooLarge, ClientDisconnect)) as caught:
        async for _ in forms(request, limit=limit):
            pass
    return caught.value


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_chunk_borders_make_no_difference(size: int) -> None:
    body = field("model", "Müller".encode()) + FILE_HEAD + bytes(range(256)) + END
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    async for form in forms(request_of(*chunks)):
        assert form.fields == [("model", "Müller")]
        ((name, upload),) = form.files
        assert (name, upload.audio(), upload.size) == ("file", bytes(range(256)), 256)


async def test_small_upload_never_touches_the_disk(spool_folder: Path) -> None:
    async for form in forms(request_of(FILE_HEAD, b"x" * 100, END), spool=100):
        assert form.files[0][1].audio() == b"x" * 100
        assert names_in(spool_folder) == []


async def test_upload_over_the_threshold_is_a_file_while_the_form_is_open(spool_folder: Path) -> None:
    async for form in forms(request_of(FILE_HEAD, b"x" * 60, b"y" * 60, END), spool=100):
        path = form.files[0][1].audio()
        assert isinstance(path, Path)
        assert path.parent == spool_folder
        assert path.read_bytes() == b"x" * 60 + b"y" * 60
    assert names_in(spool_folder) == []


async def test_spooled_file_is_deleted_when_the_client_leaves(spool_folder: Path) -> None:
    request = request_of(FILE_HEAD, b"x" * 200, leaves=True)
    with pytest.raises(ClientDisconnect):
        async for _ in forms(request, spool=100):
            pass
    assert names_in(spool_folder) == []


async def test_body_over_the_limit_is_refused_before_it_is_read() -> None:
    request = request_of(leaves=True, headers={"content-length": "10001"})
    assert isinstance(await refusal(request), UploadTooLarge)


async def test_body_without_a_length_is_refused_once_it_is_over(spool_folder: Path) -> None:
    request = request_of(FILE_HEAD, *[b"x" * 1000] * 11, leaves=True)
    assert isinstance(await refusal(request), UploadTooLarge)
    assert names_in(spool_folder) == []


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "", "audio/wav"])
async def test_other_content_type_is_415_and_says_how_to_send(kind: str) -> None:
    error = await refusal(request_of(b"{}", headers={"content-type": kind}))
    assert isinstance(error, HTTPException)
    assert error.status_code == 415
    assert "curl -F" in error.detail


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "cut off"),
        (b"not multipart", "malformed"),
        (FILE_HEAD + b"xxx", "cut off"),
        (FILE_HEAD[:30], "cut off"),
        (b"--B\r\nContent-Disposition: form-data\r\n\r\nx" + END, "no name"),
        (b"--B\r\nContent Disposition: nonsense\r\n\r\nx" + END, "malformed"),
        (b"--B\r\n" + b"A: b\r\n" * 100 + b"\r\nx" + END, "malformed"),
    ],
)
async def test_broken_body_is_400_and_says_why(body: bytes, says: str) -> None:
    error = await refusal(request_of(body))
    assert isinstance(error, HTTPException)
    assert error.status_code == 400
    assert says in error.detail


async def test_missing_boundary_is_400() -> None:
    error = await refusal(request_of(b"", headers={"content-type": "multipart/form-data"}))
    assert isinstance(error, HTTPException)
    assert "no boundary" in error.detail


async def test_recording_sent_as_a_text_field_is_explained() -> None:
    error = await refusal(request_of(field("file", b"\xff\xfb\x90"), END))
    assert isinstance(error, OptionError)
    assert error.param == "file"
    assert "UTF-8" in str(error)


async def test_huge_text_field_is_refused() -> None:
    error = await refusal(request_of(field("prompt", b"a" * (2**20 + 1))), limit=2**22)
    assert isinstance(error, OptionError)
    assert error.param == "prompt"


async def test_too_many_fields_are_refused() -> None:
    error = await refusal(request_of(field("x", b"1") * (MAX_PARTS + 1)), limit=2**22)
    assert isinstance(error, HTTPException)
    assert "1000" in error.detail


async def test_many_text_fields_may_hold_no_more_than_one() -> None:
    error = await refusal(request_of(field("x", b"a" * 2**18) * 5), limit=2**22)
    assert isinstance(error, OptionError)


@pytest.mark.parametrize("room", [10, 10_000], ids=["on disk", "in memory"])
async def test_client_that_stalls_is_given_up_and_leaves_nothing(room: int, spool_folder: Path) -> None:
    spool = Spool(room)
    with pytest.raises(UploadStalled, match=r"0\.02 s"):
        async for _ in forms(request_of(FILE_HEAD, b"x" * 50, stalls=True), spool=spool, idle_s=0.02):
            pass
    assert (spool.free_bytes, names_in(spool_folder)) == (room, [])


@pytest.mark.parametrize("room", [10, 10_000], ids=["on disk", "in memory"])
async def test_client_that_leaves_gives_its_room_back(room: int, spool_folder: Path) -> None:
    spool = Spool(room)
    with pytest.raises(ClientDisconnect):
        async for _ in forms(request_of(FILE_HEAD, b"x" * 50, leaves=True), spool=spool):
            pass
    assert (spool.free_bytes, names_in(spool_folder)) == (room, [])
