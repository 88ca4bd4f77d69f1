"""`https:` sources: URLs in, checked files out. Also the one downloader, which the hub's files use as well.

A cut connection is resumed a few times within a download. Nothing is kept for the next one: a store never holds a part.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from model_store.catalog import HttpsSource
from model_store.errors import DownloadFailed, SourceMissing
from model_store.manifest import SourceFile
from model_store.report import Progress, Report
from model_store.sources.checked import Checked, CheckedFile, Expected, Fetched

TIMEOUT_S = 30.0
"""Without a byte from the server; a slow download may take as long as it likes."""

PAUSES_S = (0.1, 0.5)
"""Before each further attempt without progress."""

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes that another attempt may cure."""


class _Cut(Exception):
    """The attempt failed in a way that another may cure."""


def fetch(source: HttpsSource, target: Path, *, report: Report) -> Fetched:
    """Downloads the files of `source` into `target`.

    Raises:
        SourceError: a page is missing, a download was cut, or a file is not the one that is pinned.
    """
    with client() as http:
        files = tuple(
            download(
                http,
                file.url,
                target / file.name,
                expected=Expected(sha256=file.sha256, bytes=file.bytes),
                checked="catalogue",
                report=report,
            )
            for file in source.files
        )
    return Fetched(origin=source.label, files=files)


def client(headers: Mapping[str, str] | None = None) -> httpx.Client:
    """The user's proxies and certificates hold (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE)."""
    # A checksum is of the file, so the file must not come compressed.
    plain = {**(headers or {}), "accept-encoding": "identity"}
    return httpx.Client(headers=plain, follow_redirects=True, timeout=TIMEOUT_S)


def download(
    http: httpx.Client, url: str, path: Path, *, expected: Expected, checked: Checked, report: Report
) -> SourceFile:
    """Writes `url` to `path` and checks it; a failure leaves no file.

    Raises:
        SourceError: as `fetch`.
    """
    label = url if url.endswith(f"/{path.name}") else f"{path.name} ({url})"
    with CheckedFile(path, expected, label=label) as file:
        _whole(http, url, file, report)
    return file.described(checked)


def _whole(http: httpx.Client, url: str, file: CheckedFile, report: Report) -> None:
    """Attempts until the file is there. One that brought bytes starts the count of failures anew."""
    failures = 0
    while True:
        had = file.size
        try:
            return _attempt(http, url, file, report)
        except _Cut as cut:
            failures = 0 if file.size > had else failures
            if failures == len(PAUSES_S):
                raise DownloadFailed(file.label, f"{cut}, {_so_far(file)}") from cut.__cause__
        time.sleep(PAUSES_S[failures])
        failures += 1


def _attempt(http: httpx.Client, url: str, file: CheckedFile, report: Report) -> None:
    """Fetches what is still missing."""
    headers = {"range": f"bytes={file.size}-"} if file.size else {}
    try:
        with http.stream("GET", url, headers=headers) as response:
            total = _total(response, file)
            for chunk in _after(response, file.size):
                file.write(chunk)
                report(Progress("fetch", file.path.name, file.size, total))
    except httpx.TransportError as error:
        raise _Cut(f"the connection failed ({_said(error)})") from error
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise DownloadFailed(file.label, _said(error)) from error
    if total is not None and file.size < total:
        raise _Cut("the server closed the connection early")


def _total(response: httpx.Response, file: CheckedFile) -> int | None:
    """The length of the whole file, None where the server does not say."""
    _refuse(response, file)
    length = response.headers.get("content-length", "")
    if not length.isdigit():
        return file.expected.bytes
    return int(length) + (file.size if response.status_code == httpx.codes.PARTIAL_CONTENT else 0)


def _refuse(response: httpx.Response, file: CheckedFile) -> None:
    status = response.status_code
    answer = f"the server answers {status} {response.reason_phrase}"
    if status in (401, 403, 404, 410):
        raise SourceMissing(file.label, answer)
    if status in PASSING:
        raise _Cut(answer)
    if status not in (200, 206) or response.headers.get("content-encoding", "identity") != "identity":
        raise DownloadFailed(file.label, answer)
    start = f"bytes {file.size}-"
    if status == httpx.codes.PARTIAL_CONTENT and not response.headers.get("content-range", "").startswith(start):
        raise DownloadFailed(file.label, "the server sent another part than the one asked for")


def _after(response: httpx.Response, size: int) -> Iterator[bytes]:
    """The bytes from `size` on; a server that knows no ranges sends the first ones again."""
    skip = size if response.status_code == httpx.codes.OK else 0
    for chunk in response.iter_raw():
        if skip < len(chunk):
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))


def _so_far(file: CheckedFile) -> str:
    of = f" of {file.expected.bytes}" if file.expected.bytes is not None else ""
    return f"{file.size}{of} bytes had come"


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
