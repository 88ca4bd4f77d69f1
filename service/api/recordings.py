"""The recording of a form: its file, or what its `url` leads to."""

import time
from contextlib import AsyncExitStack

from starlette.requests import Request

from service.api.fetching import OFF, Fetcher
from service.api.presence import while_present
from service.api.spool import Upload
from service.api.trace import trace_of
from service.api.uploads import HOW_TO_SEND, UploadForm
from service.errors import EmptyAudio, OptionError


async def recording(
    request: Request, form: UploadForm, url: str | None, fetcher: Fetcher, stack: AsyncExitStack
) -> Upload:
    """It is there until the stack is closed.

    Raises:
        OptionError: there is none, there are two, it came as text, or nothing is fetched here.
        EmptyAudio: it has no bytes.
        FetchFailed: it cannot be had from its URL.
        UploadTooLarge: what lies there has more bytes than an upload may.
        ClientDisconnect: the client left meanwhile.
    """
    if url is None or (form.files and not fetcher.enabled):
        return _the_file(form)
    if form.files:
        raise OptionError("There is a file and a 'url'. Send one of them.", param="url")
    if not fetcher.enabled:
        raise OptionError(f"{OFF} in the part 'file'.", param="url")
    began_s = time.perf_counter()
    upload = await while_present(request.receive, stack.enter_async_context(fetcher.fetched(url)))
    trace_of(request).stage_ms["fetch"] = (time.perf_counter() - began_s) * 1000
    if upload.size == 0:
        raise EmptyAudio
    return upload


def _the_file(form: UploadForm) -> Upload:
    """The one file of a form.

    Raises:
        OptionError: there is none, there are two, or it came as text.
        EmptyAudio: it has no bytes.
    """
    uploads = [upload for name, upload in form.files if name == "file"]
    if not uploads and any(name == "file" for name, _ in form.fields):
        raise OptionError(f"The field 'file' came as text, without a file name. {HOW_TO_SEND}", param="file")
    if not uploads:
        raise OptionError(f"The field 'file' is missing. {HOW_TO_SEND}", param="file")
    if len(uploads) > 1:
        raise OptionError("The field 'file' was given twice. Send one recording a request.", param="file")
    if uploads[0].size == 0:
        raise EmptyAudio
    return uploads[0]
