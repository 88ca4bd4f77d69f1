"""A body in: of a form its text fields and its files out, of bare bytes the one file that they are.

The limits are enforced while reading: a body without a content length cannot get past its size, nor a client that sends
no more past its time. Whatever happens, also when the client leaves half-way, the memory and the temporary files of the
uploads are free when the form is closed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from service.api.spool import Spool, Upload
from service.errors import OptionError, UploadTooLarge, WrenError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 1000
"""Fields and files of one form; real clients send some dozens at most."""

MAX_TEXT_BYTES = 2**20
"""Text longer than this is not options of ours; a recording sent as a text field is caught here."""

MOST_NAMED = 40
"""Characters of a header that an answer repeats."""

HOW_TO_SEND = "Send multipart/form-data with a file in the part 'file', as `curl -F file=@speech.wav` does."


class UploadStalled(WrenError, TimeoutError):
    """The client keeps the connection and sends nothing."""

    def __init__(self, *, idle_s: float, setting: str = "WREN_UPLOAD_IDLE_S") -> None:
        self.idle_s = idle_s
        super().__init__(f"The upload stopped half-way: not a byte for {idle_s:g} s ({setting}). Send it again.")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one upload may take: bytes of the whole body, and seconds between two pieces of it."""

    body_bytes: int
    idle_s: float


@dataclass(slots=True)
class UploadForm:
    """The parts of a form in the order they came."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    files: list[tuple[str, Upload]] = field(default_factory=list)

    def close(self) -> None:
        for _, upload in self.files:
            upload.close()


class _Parts:
    """The callbacks of the multipart parser: collects its events into an `UploadForm`."""

    def __init__(self, boundary: bytes, spool: Spool) -> None:
        self.form = UploadForm()
        self.complete = False
        self._spool = spool
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value = bytearray(), bytearray()
        self._name, self._text, self._text_bytes = "", bytearray(), 0
        self._upload: Upload | None = None
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._headers.clear,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._take_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise HTTPException(400, f"The multipart body is malformed: {error}.") from error

    def may_write_to_disk(self, count: int) -> bool:
        """Whether writing so many bytes more could touch the disk, which can be slow."""
        return self._upload is not None and (self._upload.on_disk or count > self._spool.free_bytes)

    def _end_header(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"name" not in options:
            raise HTTPException(400, "The multipart body is malformed: a part has no name in its Content-Disposition.")
        if len(self.form.fields) + len(self.form.files) >= MAX_PARTS:
            raise HTTPException(400, f"The form has more than {MAX_PARTS} fields.")
        self._name = options[b"name"].decode("utf-8", errors="replace")
        self._text.clear()
        self._upload = None
        if b"filename" in options:
            self._upload = Upload(self._spool)
            self.form.files.append((self._name, self._upload))

    def _take_content(self, data: bytes, start: int, end: int) -> None:
        if self._upload is not None:
            self._upload.write(data[start:end])
            return
        self._text += data[start:end]
        self._text_bytes += end - start
        if self._text_bytes > MAX_TEXT_BYTES:
            raise OptionError(f"The text fields up to '{self._name}' are over 1 MiB. {HOW_TO_SEND}", param=self._name)

    def _end_part(self) -> None:
        if self._upload is None:
            self.form.fields.append((self._name, self._decoded_text()))

    def _decoded_text(self) -> str:
        try:
            return self._text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise OptionError(f"The text field '{self._name}' is not UTF-8. {HOW_TO_SEND}", param=self._name) from error

    def _end(self) -> None:
        self.complete = True


@asynccontextmanager
async def read_form(request: Request, *, limits: UploadLimits, spool: Spool) -> AsyncIterator[UploadForm]:
    """The form of a request, closed when the block ends.

    Raises:
        UploadTooLarge: the body has more bytes than the limit.
        UploadStalled: nothing came for longer than the limit.
        HTTPException: the content type is another, or the body is compressed, malformed or cut off.
        ClientDisconnect: the client left before its body was complete.
    """
    parts = _Parts(_boundary_of(request), spool)
    try:
        await _read(request, parts, limits)
        yield parts.form
    finally:
        parts.form.close()


@asynccontextmanager
async def read_bare(request: Request, *, limits: UploadLimits, spool: Spool) -> AsyncIterator[Upload]:
    """The body of a request as one file, whatever its content type; closed when the block ends.

    Raises:
        UploadTooLarge: it has more bytes than the limit.
        UploadStalled: nothing came for longer than the limit.
        HTTPException: it is compressed.
        ClientDisconnect: the client left before it was complete.
    """
    upload = Upload(spool)
    try:
        await fill(upload, _chunks(request, limits), spool=spool)
        yield upload
    finally:
        upload.close()


async def fill(upload: Upload, chunks: AsyncIterator[bytes], *, spool: Spool) -> None:
    """Write the chunks, off the event loop where that could touch the disk."""
    async for chunk in chunks:
        if upload.on_disk or len(chunk) > spool.free_bytes:
            await asyncio.to_thread(upload.write, chunk)
        else:
            upload.write(chunk)


async def _read(request: Request, parts: _Parts, limits: UploadLimits) -> None:
    async for chunk in _chunks(request, limits):
        if parts.may_write_to_disk(len(chunk)):
            await asyncio.to_thread(parts.write, chunk)
        else:
            parts.write(chunk)
    if not parts.complete:
        raise HTTPException(400, "The multipart body is cut off: its closing boundary is missing.")


async def _chunks(request: Request, limits: UploadLimits) -> AsyncIterator[bytes]:
    """The pieces of a body that keeps to its limits; one that says at once that it will not is not read."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        what = f"The body has the Content-Encoding {encoding[:MOST_NAMED]!r}, which this server does not undo."
        raise HTTPException(415, f"{what} Send it as it is; a codec such as flac or opus makes audio smaller.")
    if _announced_bytes(request) > limits.body_bytes:
        raise UploadTooLarge(limit_bytes=limits.body_bytes)
    received = 0
    async for chunk in _unstalled(request.stream(), idle_s=limits.idle_s):
        received += len(chunk)
        if received > limits.body_bytes:
            raise UploadTooLarge(limit_bytes=limits.body_bytes)
        yield chunk


async def _unstalled(chunks: AsyncIterator[bytes], *, idle_s: float) -> AsyncIterator[bytes]:
    """The chunks, each awaited for at most `idle_s`."""
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UploadStalled(idle_s=idle_s) from error
        yield chunk


def _boundary_of(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        got = kind.decode("latin-1") or "none"
        raise HTTPException(415, f"The content type must be multipart/form-data, not {got!r}. {HOW_TO_SEND}")
    if not options.get(b"boundary"):
        raise HTTPException(400, "The content type multipart/form-data has no boundary.")
    return options[b"boundary"]


def _announced_bytes(request: Request) -> int:
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else 0
