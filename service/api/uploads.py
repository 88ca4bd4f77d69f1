"""A multipart body in, its text fields and its files out.

A file stays in memory until it outgrows `spool_bytes`; then it moves to a temporary file. The size limit is enforced
while reading, so a body without a content length cannot get past it. Whatever happens, also when the client leaves
half-way, the temporary files are gone when the form is closed.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from service.errors import OptionError, UploadTooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 1000
"""Fields and files of one form; real clients send some dozens at most."""

MAX_FIELD_BYTES = 2**20
"""A text field longer than this is not an option of ours; a recording sent as a text field is caught here."""

HOW_TO_SEND = "Send multipart/form-data with a file in the part 'file', as `curl -F file=@speech.wav` does."


class Upload:
    """The bytes of one file: in memory up to `spool_bytes`, beyond that in a temporary file until `close`."""

    def __init__(self, *, spool_bytes: int) -> None:
        self._spool_bytes = spool_bytes
        self._sink: IO[bytes] = BytesIO()
        self._path: Path | None = None
        self.size = 0

    def write(self, data: bytes) -> None:
        self._sink.write(data)
        self.size += len(data)
        if self._path is None and self.size > self._spool_bytes:
            self._move_to_disk()

    def audio(self) -> bytes | Path:
        """What was uploaded. A path is valid until `close`."""
        if isinstance(self._sink, BytesIO):
            return self._sink.getvalue()
        self._sink.flush()
        return Path(self._sink.name)

    def close(self) -> None:
        """Free the memory or delete the file."""
        self._sink.close()

    def _move_to_disk(self) -> None:
        memory = self._sink
        # Closing deletes it, and so does the garbage collector if the process is torn down in between.
        self._sink = tempfile.NamedTemporaryFile(prefix="wren-upload-")  # noqa: SIM115
        self._path = Path(self._sink.name)
        memory.seek(0)
        self._sink.write(memory.read())
        memory.close()


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

    def __init__(self, boundary: bytes, *, spool_bytes: int) -> None:
        self.form = UploadForm()
        self.complete = False
        self._spool_bytes = spool_bytes
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value = bytearray(), bytearray()
        self._name, self._text = "", bytearray()
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
            self._upload = Upload(spool_bytes=self._spool_bytes)
            self.form.files.append((self._name, self._upload))

    def _take_content(self, data: bytes, start: int, end: int) -> None:
        if self._upload is not None:
            self._upload.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > MAX_FIELD_BYTES:
            raise OptionError(f"The text field '{self._name}' is over 1 MiB. {HOW_TO_SEND}", param=self._name)

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
async def read_form(request: Request, *, limit_bytes: int, spool_bytes: int) -> AsyncIterator[UploadForm]:
    """The form of a request, closed when the block ends.

    Raises:
        UploadTooLarge: the body is over `limit_bytes`.
        HTTPException: the content type is another, or the body is malformed or cut off.
        ClientDisconnect: the client left before its body was complete.
    """
    parts = _Parts(_boundary_of(request), spool_bytes=spool_bytes)
    if _announced_bytes(request) > limit_bytes:
        raise UploadTooLarge(limit_bytes=limit_bytes)
    try:
        await _read(request, parts, limit_bytes=limit_bytes, spool_bytes=spool_bytes)
        yield parts.form
    finally:
        parts.form.close()


async def _read(request: Request, parts: _Parts, *, limit_bytes: int, spool_bytes: int) -> None:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit_bytes:
            raise UploadTooLarge(limit_bytes=limit_bytes)
        if received > spool_bytes:  # the file may be on disk by now, and disks can be slow
            await asyncio.to_thread(parts.write, chunk)
        else:
            parts.write(chunk)
    if not parts.complete:
        raise HTTPException(400, "The multipart body is cut off: its closing boundary is missing.")


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
