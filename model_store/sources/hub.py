"""`hf:` sources: a repository on a Hugging Face hub in, checked files out. HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE hold.

The hub's library says what the repository holds: the commit, and each file's size and checksum (SHA-256 for LFS files,
git's blob hash for the others). The bytes come through the downloader of `https`, at that commit: the library's own
would write into the user's cache. Where the catalogue pins no checksum, the hub's is trusted on first use and the
manifest keeps it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import httpx
from huggingface_hub import HfApi, get_token, hf_hub_url
from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

from model_store.catalog import HubFile, HubSource
from model_store.errors import DownloadFailed, SourceMissing
from model_store.manifest import SourceFile
from model_store.report import Progress, Report
from model_store.sources import https
from model_store.sources.checked import Checked, Expected, Fetched

METADATA_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A repository at a commit, with what the hub says of its files."""

    endpoint: str
    commit: str
    files: dict[str, Expected]


def fetch(source: HubSource, target: Path, *, report: Report) -> Fetched:
    """Downloads the files of `source` into `target`, all of one commit.

    Raises:
        SourceError: no such repository, revision or file; no way to the hub; a file that differs from its checksum.
    """
    report(Progress("fetch", f"{source.repo} (what the hub has)"))
    snapshot = _snapshot(source)
    origin = f"hf:{source.repo}@{snapshot.commit}"
    wanted = [file for file in source.files if file.path in snapshot.files or not file.optional]
    trusted = [file.name for file in wanted if file.sha256 is None]
    if trusted:
        report(Progress("note", f"{origin}: {', '.join(trusted)}: checked against the hub's own checksums (first use)"))
    with https.client(_headers()) as http:
        files = tuple(_download(http, file, source, snapshot, target, report) for file in wanted)
    return Fetched(origin=origin, files=files)


def _snapshot(source: HubSource) -> _Snapshot:
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    label = f"{source.repo} on {api.endpoint}"
    try:
        info = api.model_info(source.repo, revision=source.revision, files_metadata=True, timeout=METADATA_TIMEOUT_S)
    except RepositoryNotFoundError as error:
        raise SourceMissing(label, "there is no such repository, or it needs a token (HF_TOKEN)") from error
    except RevisionNotFoundError as error:
        raise SourceMissing(label, f"there is no revision {source.revision}") from error
    except OfflineModeIsEnabled as error:
        raise DownloadFailed(label, "HF_HUB_OFFLINE is set") from error
    # Every error here is the network's or the hub's. The library has had three HTTP clients (requests, httpx, httpx2),
    # each with a tree of its own, so none can be named.
    except Exception as error:
        raise DownloadFailed(label, f"the hub cannot be asked ({_first_line(error)})") from error
    files = {
        file.rfilename: Expected(
            sha256=file.lfs.sha256 if file.lfs else None,
            bytes=file.lfs.size if file.lfs else file.size,
            git_sha1=None if file.lfs else file.blob_id,
        )
        for file in info.siblings or ()
    }
    return _Snapshot(endpoint=api.endpoint, commit=info.sha or source.revision, files=files)


def _download(
    http: httpx.Client, file: HubFile, source: HubSource, snapshot: _Snapshot, target: Path, report: Report
) -> SourceFile:
    label = f"{file.path} of {source.repo}@{snapshot.commit}"
    if file.path not in snapshot.files:
        raise SourceMissing(label, "the repository has no such file")
    expected, checked = _expected(file, snapshot.files[file.path])
    if not (expected.sha256 or (expected.git_sha1 and expected.bytes is not None)):
        raise DownloadFailed(label, "the hub gives no checksum and the catalogue pins none")
    url = hf_hub_url(source.repo, file.path, revision=snapshot.commit, endpoint=snapshot.endpoint)
    return https.download(http, url, target / file.name, expected=expected, checked=checked, report=report)


def _expected(file: HubFile, hub: Expected) -> tuple[Expected, Checked]:
    if file.sha256 is None:
        return hub, "hub"
    return Expected(sha256=file.sha256, bytes=hub.bytes), "catalogue"


def _headers() -> dict[str, str]:
    """With the user's token, if there is one. httpx drops it when the hub redirects to another host."""
    token = get_token()
    return {"authorization": f"Bearer {token}"} if token else {}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
