"""Jobs survive `kill -9`: the benchmark in small, with a real server and real speech."""

from pathlib import Path

import numpy as np
import soundfile

from benchmarks.jobs_killed import measured
from tests.live import ROOT, recording


def test_every_job_finishes_once_with_the_same_text(tmp_path: Path) -> None:
    samples, rate = soundfile.read(recording("en/quick_brown_fox"), dtype="float32")
    long = tmp_path / "long.flac"
    soundfile.write(long, np.tile(np.concatenate([samples, np.zeros(rate, np.float32)]), 150), rate)
    outcome = measured(
        tmp_path, [long], model="whisper-tiny.en:int8", store=ROOT / ".store", kills=4, longest_s=3.0, seed=1
    )
    assert outcome.well, outcome
    assert outcome.keys >= 4
    assert outcome.resumed >= 1, "a kill came between two windows"
