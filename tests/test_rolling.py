"""Two servers behind nginx, restarted one after the other while clients go on: none of them loses anything."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.live import Heard, Told, sound
from benchmarks.rolling import RESTARTING, behind_nginx, rolled, wrong
from benchmarks.speech import PACKAGED, Utterance
from service.audio.decode import decode
from service.audio.resample import Limits
from service.settings import Settings
from tests.live import recording
from tests.proxy import CONFIGURATION, NGINX, NO_NGINX

FOX = recording("en/quick_brown_fox")
SETTINGS = {"WREN_MODEL": "whisper-tiny.en:int8", "WREN_MAX_STREAMS": "4"}


@pytest.mark.skipif(NGINX is None, reason=NO_NGINX)
def test_nothing_is_lost_while_each_server_restarts(tmp_path: Path) -> None:
    samples = decode(FOX.read_bytes(), limits=Limits(60)).samples
    clip = Utterance(PACKAGED, FOX.name, FOX, FOX.with_suffix(".txt").read_text(), "en", len(samples) / 16_000)
    spoken = sound("fox", samples, chunk_s=0.05, pause_s=12)
    with behind_nginx(tmp_path, SETTINGS) as (server, instances):
        found = asyncio.run(rolled(server, instances, [clip], spoken, rounds=1, clients=3, streams=3))
    assert not found.failures
    assert found.statuses == [0, 0]
    answered = [one for one in found.answers if one.status == "200"]
    assert len(answered) > 10
    assert all("brown fox" in one.text for one in answered)
    assert found.reconnects
    assert found.reconnects[-1] is not found.streams[-1], "none was opened anew"
    told = [one for one in found.streams if one.finals and one.finals[-1].end_s > clip.duration_s]
    assert told
    assert all("brown fox" in one.text for one in told)


@pytest.mark.parametrize(
    ("status", "code", "last", "why"),
    [
        (101, 1000, "Metadata", ""),
        (101, RESTARTING, "Metadata", ""),
        (429, None, "", ""),
        (502, None, "", "stream 502"),
        (101, 1006, "Metadata", "stream closed 1006"),
        (101, RESTARTING, "Results", "stream closed 1012 before its end"),
    ],
)
def test_a_lost_stream_is_told_from_one_that_was_sent_elsewhere(
    status: int, code: int | None, last: str, why: str
) -> None:
    silence = sound("silence", decode(FOX.read_bytes(), limits=Limits(60)).samples, chunk_s=0.05)
    assert wrong(Heard(silence, told=(Told(0.0, last),) * bool(last), status=status, code=code)) == why


def test_the_proxy_takes_what_wren_takes() -> None:
    assert f"client_max_body_size {Settings.model_fields['max_upload_mib'].default}m;" in CONFIGURATION.read_text()


def test_the_proxy_logs_no_query() -> None:
    (form,) = [line for line in CONFIGURATION.read_text().splitlines() if "log_format" in line]
    assert not {"$request", "$args", "$request_uri", "$query_string"} & set(form.replace("'", " ").split())
