import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_site import Page, Site, serving
from tiny_hub import COMMIT, REPO, Hub
from tiny_models import WEIGHTS, sha256

from model_store.catalog import HubFile, HubSource
from model_store.errors import DownloadFailed, SourceError, SourceMissing, WrongChecksum
from model_store.report import Progress, silent
from model_store.sources import hub as hub_source

CONFIG = b'{"model_type": "whisper"}'


@pytest.fixture
def hub(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_ENDPOINT", site.root)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as store:
        yield Hub(site, store)


def source(*files: HubFile, revision: str = "main") -> HubSource:
    wanted = files or (HubFile(path="config.json"), HubFile(path="model.safetensors"))
    return HubSource(kind="hf", format="whisper-huggingface", repo=REPO, revision=revision, files=wanted)


def test_files_come_from_one_commit_checked_against_the_hub(hub: Hub, tmp_path: Path) -> None:
    hub.publish({"config.json": CONFIG}, lfs={"model.safetensors": WEIGHTS})
    steps: list[Progress] = []
    got = hub_source.fetch(source(), tmp_path, report=steps.append)
    assert (tmp_path / "config.json").read_bytes() == CONFIG
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS
    assert got.origin == f"hf:{REPO}@{COMMIT}"
    assert [(file.name, file.sha256, file.checked) for file in got.files] == [
        ("config.json", sha256(CONFIG), "hub"),
        ("model.safetensors", sha256(WEIGHTS), "hub"),
    ]
    assert [step.what for step in steps if step.stage == "note" and "first use" in step.what]


def test_a_pinned_file_is_checked_against_the_catalogue(hub: Hub, tmp_path: Path) -> None:
    hub.publish({}, lfs={"model.safetensors": WEIGHTS})
    pinned = HubFile(path="model.safetensors", sha256=sha256(WEIGHTS))
    assert hub_source.fetch(source(pinned), tmp_path, report=silent).files[0].checked == "catalogue"
    (tmp_path / "model.safetensors").unlink()
    other = HubFile(path="model.safetensors", sha256=sha256(b"other"))
    with pytest.raises(WrongChecksum, match=r"model\.safetensors"):
        hub_source.fetch(source(other), tmp_path, report=silent)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_differs_from_what_the_hub_says_is_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.publish({"config.json": CONFIG}, lfs={"model.safetensors": WEIGHTS})
    for page in (hub.site.pages[hub.path("config.json")], hub.store.pages[f"/lfs/{sha256(WEIGHTS)}"]):
        if (page.body == CONFIG) == (name == "config.json"):
            page.body = page.body[::-1]
    with pytest.raises(WrongChecksum, match=name):
        hub_source.fetch(source(), tmp_path, report=silent)
    assert not (tmp_path / name).exists()


def test_the_token_goes_to_the_hub_and_not_to_its_content_network(hub: Hub, tmp_path: Path) -> None:
    hub.publish({}, lfs={"model.safetensors": WEIGHTS})
    hub_source.fetch(source(HubFile(path="model.safetensors")), tmp_path, report=silent)
    assert hub.site.gets(hub.path("model.safetensors"))[0].headers["authorization"] == "Bearer hf_secret"
    assert "authorization" not in hub.store.seen[0].headers


def test_an_optional_file_may_be_missing_and_another_may_not(hub: Hub, tmp_path: Path) -> None:
    hub.publish({"config.json": CONFIG}, lfs={})
    config, extra = HubFile(path="config.json"), HubFile(path="generation_config.json", optional=True)
    assert len(hub_source.fetch(source(config, extra), tmp_path, report=silent).files) == 1
    with pytest.raises(SourceMissing, match=r"tokenizer\.json of someone/tiny"):
        hub_source.fetch(source(HubFile(path="tokenizer.json")), tmp_path, report=silent)


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("RepoNotFound", SourceMissing, "no such repository"),
        ("RevisionNotFound", SourceMissing, "no revision main"),
        ("", DownloadFailed, "cannot be asked"),
    ],
)
def test_what_the_hub_refuses_is_told(hub: Hub, tmp_path: Path, code: str, error: type[SourceError], said: str) -> None:
    hub.refuse(code)
    with pytest.raises(error, match=said):
        hub_source.fetch(source(), tmp_path, report=silent)


def test_an_answer_that_is_no_hub_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.site.put(f"/api/models/{REPO}/revision/main", Page(b"<html>log in first</html>"))
    with pytest.raises(DownloadFailed, match="cannot be asked"):
        hub_source.fetch(source(), tmp_path, report=silent)


def test_no_way_to_the_hub_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadFailed, match=r"http://127\.0\.0\.1:9"):
        hub_source.fetch(source(), tmp_path, report=silent)


FETCH = """
import sys
from pathlib import Path
from model_store.catalog import HubFile, HubSource
from model_store.report import silent
from model_store.sources import hub
files = (HubFile(path="config.json"), HubFile(path="model.safetensors"))
source = HubSource(kind="hf", format="whisper-huggingface", repo=sys.argv[1], files=files)
hub.fetch(source, Path(sys.argv[2]), report=silent)
"""


def fetch_in_another_process(target: Path, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    target.mkdir()
    return subprocess.run(
        [sys.executable, "-c", FETCH, REPO, str(target)],
        env={**os.environ, "HOME": str(home), "HF_HOME": str(home / "hf"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_written_into_the_users_cache(hub: Hub, tmp_path: Path) -> None:
    hub.publish({"config.json": CONFIG}, lfs={"model.safetensors": WEIGHTS})
    home = tmp_path / "home"
    home.mkdir()
    done = fetch_in_another_process(tmp_path / "target", home)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "model.safetensors").read_bytes() == WEIGHTS
    assert list(home.iterdir()) == []


def test_the_hubs_offline_mode_holds(hub: Hub, tmp_path: Path) -> None:
    hub.publish({"config.json": CONFIG}, lfs={"model.safetensors": WEIGHTS})
    done = fetch_in_another_process(tmp_path / "target", tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert hub.site.seen == []
