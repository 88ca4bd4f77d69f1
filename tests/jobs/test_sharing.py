"""Two servers that share a PostgreSQL database: what one accepts and does not live to do, the other does."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import soundfile

from tests.live import recording, wren_serve


def test_another_server_takes_over_what_a_killed_one_had(tmp_path: Path, postgres_url: str) -> None:
    samples, rate = soundfile.read(recording("en/quick_brown_fox"), dtype="float32")
    long = tmp_path / "long.flac"
    soundfile.write(long, np.tile(np.concatenate([samples, np.zeros(rate, np.float32)]), 200), rate)
    settings = {"WREN_MODEL": "whisper-tiny.en:int8", "WREN_JOBS_DATABASE": postgres_url}
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with wren_serve(tmp_path / "one" / "log", settings) as one, one.client() as client:
        with long.open("rb") as file:
            url = client.post("/v1/jobs", files={"file": file}, data={"model": "auto"}).headers["location"]
        while client.get(url).json()["progress"]["windows_done"] < 3:
            time.sleep(0.02)
        with wren_serve(tmp_path / "other" / "log", settings) as other, other.client() as another:
            os.kill(one.pid, signal.SIGKILL)
            deadline_s = time.monotonic() + 90
            while (job := another.get(url).json())["ended_at"] is None:
                assert time.monotonic() < deadline_s, other.log.read_text()
                time.sleep(0.1)
            text = another.get(f"{url}/result?response_format=text").text
            taken = [line for line in other.log.read_text().splitlines() if "begins at window" in line]
    assert job["status"] == "completed"
    assert text.lower().count("brown fox") >= 190
    assert len(taken) == 1
    assert "begins at window 0" not in taken[0]
    assert postgres_url not in other.log.read_text()
