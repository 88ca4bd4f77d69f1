from pathlib import Path

import pytest
from local_site import Page, Site
from tiny_models import WEIGHTS, sha256, web

from model_store.errors import DownloadFailed, SourceError, SourceMissing, WrongChecksum, WrongSize
from model_store.report import Progress, silent
from model_store.sources import https


def fetched(site: Site, page: Page | bytes, target: Path, *, pin: str | None = None) -> bytes:
    url = site.put("/model.bin", page)
    https.fetch(web(url, pin=pin), target, report=silent)
    return (target / "model.bin").read_bytes()


def test_a_file_arrives_with_its_checksum_and_progress(site: Site, tmp_path: Path) -> None:
    steps: list[Progress] = []
    source = web(site.put("/model.bin", WEIGHTS))
    got = https.fetch(source, tmp_path, report=steps.append)
    assert (tmp_path / "model.bin").read_bytes() == WEIGHTS
    assert [(file.name, file.sha256, file.checked) for file in got.files] == [
        ("model.bin", sha256(WEIGHTS), "catalogue")
    ]
    assert (steps[-1].done, steps[-1].total) == (len(WEIGHTS), len(WEIGHTS))


def test_a_cut_connection_is_resumed_where_it_ended(site: Site, tmp_path: Path) -> None:
    assert fetched(site, Page(WEIGHTS, cut_at=300_000, cuts=2), tmp_path) == WEIGHTS
    assert [seen.headers.get("range") for seen in site.gets("/model.bin")] == [None, "bytes=300000-", "bytes=600000-"]


def test_a_server_without_ranges_may_start_over(site: Site, tmp_path: Path) -> None:
    assert fetched(site, Page(WEIGHTS, cut_at=300_000, cuts=2, ranges=False), tmp_path) == WEIGHTS


def test_a_connection_that_is_always_cut_early_is_resumed_as_long_as_bytes_come(site: Site, tmp_path: Path) -> None:
    assert fetched(site, Page(WEIGHTS, cut_at=200_000), tmp_path) == WEIGHTS
    assert len(site.gets("/model.bin")) == 6


def test_a_passing_refusal_is_tried_again(site: Site, tmp_path: Path) -> None:
    assert fetched(site, Page(WEIGHTS, refusals=2), tmp_path) == WEIGHTS
    assert len(site.gets("/model.bin")) == 3


@pytest.mark.parametrize(
    ("page", "error", "said"),
    [
        (Page(WEIGHTS, cut_at=200_000, ranges=False), DownloadFailed, "200000 of 1024000 bytes had come"),
        (Page(WEIGHTS[:-1]), WrongSize, "expected 1024000 bytes, got 1023999"),
        (Page(WEIGHTS + b"more"), WrongSize, "expected 1024000 bytes, got at least"),
        (Page(WEIGHTS[::-1]), WrongChecksum, "expected " + sha256(WEIGHTS)),
        (Page(b"gone", status=404), SourceMissing, "404 Not Found"),
        (Page(b"login", status=403), SourceMissing, "403 Forbidden"),
        (Page(b"busy", status=503), DownloadFailed, "503 Service Unavailable"),
        (Page(WEIGHTS, headers={"Content-Encoding": "gzip"}), DownloadFailed, "200 OK"),
    ],
)
def test_what_is_not_the_pinned_file_is_told_and_not_kept(
    site: Site, tmp_path: Path, page: Page, error: type[SourceError], said: str
) -> None:
    with pytest.raises(error, match=said) as told:
        fetched(site, page, tmp_path)
    assert "/model.bin" in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_is_followed(site: Site, tmp_path: Path) -> None:
    site.put("/elsewhere", WEIGHTS)
    assert fetched(site, Page(status=302, headers={"Location": "/elsewhere"}), tmp_path) == WEIGHTS


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="connection failed"):
        https.fetch(web("http://127.0.0.1:9/model.bin"), tmp_path, report=silent)
