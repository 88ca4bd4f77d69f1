"""What the OpenAPI description promises is what a server does, by schemathesis: no 5xx, no status unsaid."""

import subprocess
import sys

from service.engine.fake import FakeEngine
from tests.api.serving import served
from tests.api.speech import FOX, app_of

KEY = "openapi-key"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
STRICT = "response_headers_conformance,negative_data_rejection,unsupported_method,ignored_auth"


def broken_promises(url: str, key: str, *, checks: str, examples: int) -> str:
    """What schemathesis says of a server; nothing where it found nothing."""
    options = [
        "--checks",
        checks,
        "--max-examples",
        str(examples),
        "--seed",
        "8",
        "--header",
        f"Authorization: Bearer {key}",
    ]
    quiet = ["--no-color", "--generation-database", "none"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *options, *quiet]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return run.stdout + run.stderr if run.returncode else ""


def test_every_answer_is_as_described() -> None:
    with served(app_of(FakeEngine(FOX), api_keys=KEY)) as port:
        found = broken_promises(f"http://127.0.0.1:{port}", KEY, checks=f"{CHECKS},{STRICT}", examples=40)
    assert found == "", found
