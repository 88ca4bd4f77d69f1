"""A web server of this machine with pages that tests choose: whole, cut, stalled, redirected."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What a path answers.

    Attributes:
        cut_at: the connection closes after so many bytes of an answer, `cuts` times.
        refusals: so many requests are answered 503 first.
        stall_at: the answer pauses after so many bytes until `go` is set; `stalled` tells that it has come so far.
        ranges: whether the server honours Range.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    cuts: int = 1_000
    refusals: int = 0
    stall_at: int | None = None
    ranges: bool = True
    stalled: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]


class Site(ThreadingHTTPServer):
    """Answers with `pages`, by path, and keeps what was asked in `seen`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.pages: dict[str, Page] = {}
        self.seen: list[Seen] = []
        self.root = f"http://127.0.0.1:{self.server_port}"

    def put(self, path: str, page: Page | bytes) -> str:
        self.pages[path] = page if isinstance(page, Page) else Page(page)
        return self.root + path

    def gets(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == path and seen.method == "GET"]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is what some tests want; anything else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def take(self, path: str) -> Page:
        page = self.pages.get(path, Page(b"no such page", status=404))
        if page.refusals == 0:
            return page
        page.refusals -= 1
        return Page(b"busy", status=503)


@contextmanager
def serving() -> Iterator[Site]:
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            for page in site.pages.values():
                page.go.set()
            site.shutdown()
            thread.join()


def wait_for(happened: threading.Event) -> None:
    assert happened.wait(20), "it did not happen within 20 s"


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it did not happen within 20 s"
        time.sleep(0.01)


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        assert isinstance(self.server, Site)
        path = self.path.partition("?")[0]
        self.server.seen.append(Seen(self.command, path, {name.lower(): value for name, value in self.headers.items()}))
        page = self.server.take(path)
        body = self._head(page)
        if not with_body:
            return
        try:
            self._body(page, body)
        except OSError:
            self.close_connection = True  # the client went away, as some tests want it to

    def _head(self, page: Page) -> bytes:
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if page.ranges and asked else 0
        body = page.body[start:]
        self.send_response(206 if start else page.status)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
        for name, value in page.headers.items():
            self.send_header(name, value)
        self.end_headers()
        return body

    def _body(self, page: Page, body: bytes) -> None:
        if page.stall_at is not None:
            self.wfile.write(body[: page.stall_at])
            page.stalled.set()
            page.go.wait(20)
            body = body[page.stall_at :]
        if page.cut_at is not None and page.cuts > 0 and len(body) > page.cut_at:
            page.cuts -= 1
            body, self.close_connection = body[: page.cut_at], True
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
