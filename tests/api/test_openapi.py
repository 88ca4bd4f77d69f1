"""What the OpenAPI description promises is what a server does, by schemathesis: no 5xx, no status unsaid."""

import subprocess
import sys
from pathlib import Path

from service.engine.fake import FakeEngine
from tests.api.serving import served
from tests.api.speech import FOX, app_of
from tests.live import wren_serve

KEY = "openapi-key"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
STRICT = "response_headers_conformance,negative_data_rejection,unsupported_method,ignored_auth"

MEANT = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", "503", "504"]
"""
"""With real models these are meant: a variant that fails its test is not served, and no deadline of 5e-324 s is met."""


def broken_promises(url: str, folder: Path, *, key: str, checks: str, examples: int, config: str = "") -> str:
    """What schemathesis says of a server; nothing where it found nothing. It keeps a cache in the folder."""
    options = ["--checks", checks, "--max-examples", str(examples), "--seed", "8", "--no-color"]
    quiet = ["--generation-database", "none", "--header", f"Authorization: Bearer {key}"]
    path = folder / "schemathesis.toml"
    path.write_text(config)
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(path),
        "run",
        f"{url}/openapi.json",
        *options,
        *quiet,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=folder)
    return run.stdout + run.stderr if run.returncode else ""


def test_every_answer_is_as_described(tmp_path: Path) -> None:
    app = app_of(FakeEngine(FOX), api_keys=KEY, jobs=True, jobs_folder=tmp_path / "jobs")
    with served(app) as port:
        found = broken_promises(f"http://127.0.0.1:{port}", tmp_path, key=KEY, checks=f"{CHECKS},{STRICT}", examples=40)
    assert found == "", found


def test_real_models_break_no_promise(tmp_path: Path) -> None:
    """A server of its own: variants are loaded, pinned and unloaded."""
    with wren_serve(tmp_path / "log", {"WREN_MODEL": "whisper-tiny.en:int8", "WREN_MAX_DURATION_S": "60"}) as server:
        found = broken_promises(server.url, tmp_path, key=server.key, checks=CHECKS, examples=5, config=MEANT)
    assert found == "", found
