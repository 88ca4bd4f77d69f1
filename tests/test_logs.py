import json
import subprocess
import sys

import pytest

SCRIPT = """
import logging, structlog
from service import logs
logs.configure(log_format="{form}", level="info")
structlog.stdlib.get_logger("wren").info("request", status=200)
logging.getLogger("plain").warning("from the standard library")
logging.getLogger("plain").debug("too fine")
"""


def lines(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(form=form)], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_lines_carry_fields_of_both_kinds_of_logger() -> None:
    first, second = (json.loads(line) for line in lines("json"))
    assert (first["event"], first["status"], first["level"], first["logger"]) == ("request", 200, "info", "wren")
    assert (second["event"], second["level"]) == ("from the standard library", "warning")


@pytest.mark.parametrize("form", ["console", "json"])
def test_tracebacks_do_not_show_what_variables_hold(form: str) -> None:
    script = f"""
import structlog
from service import logs
logs.configure(log_format="{form}", level="info")
key = "SECRET".lower()
try:
    1 / (len(key) - len(key))
except ZeroDivisionError:
    structlog.stdlib.get_logger("wren").exception("it failed")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "ZeroDivisionError" in done.stderr
    assert "secret" not in done.stderr


def test_console_lines_are_for_people() -> None:
    first, second = lines("console")
    assert "request" in first
    assert "status=200" in first
    assert "from the standard library" in second


def test_handshakes_are_not_logged_with_the_key_in_their_query() -> None:
    script = """
import logging
from service import logs
logs.configure(log_format="json", level="info")
logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "1.2.3.4", "/v1/realtime?api_key=SECRET")
logging.getLogger("uvicorn.error").info("Started")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "SECRET" not in done.stderr
    assert "Started" in done.stderr
