"""faster-whisper on the same weights, in a process and a Python of its own, asked file by file."""

import argparse
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tests.convert.originals import original

SCRIPT = Path(__file__).parent / "peers" / "fasterwhisper.py"

Compute = Literal["float32", "float16", "int8"]
PeerDevice = Literal["cpu", "cuda"]

COMPUTE: dict[str, Compute] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
"""What faster-whisper calls a precision of ours."""


@dataclass(frozen=True)
class Answer:
    text: str
    seconds: float
    words: tuple[tuple[str, float, float], ...]
    resident_mib: float


class Peer:
    """A faster-whisper process, beam 1, its other settings as they come."""

    def __init__(self, python: Path, model: str, compute: Compute, *, threads: int, device: PeerDevice = "cpu") -> None:
        self.name = f"faster-whisper {compute}"
        folder = original(model)
        # -P: no file beside the script may stand for a package.
        command = [str(python), "-P", str(SCRIPT), str(folder), "--compute", compute, "--threads", str(threads)]
        command += ["--device", device]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self._read()
        self.versions: dict[str, str] = ready["versions"]
        self.resident_mib: float = ready["resident_mib"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()

    def transcribe(
        self, path: Path, *, language: str, waveform: bool = False, words: bool = False, batch: int = 0
    ) -> Answer:
        """`waveform` decodes the file outside of the time; `batch` takes the batched pipeline, for long recordings."""
        asked = {"path": str(path), "language": language, "waveform": waveform, "words": words, "batch": batch}
        return self._answer({**asked, "clips": []})

    def windows(self, waveform: Path, clips: Sequence[tuple[float, float]], *, language: str, batch: int) -> Answer:
        """The stretches of an .npy of samples, in seconds, so many at a time; no speech detection, no decoding."""
        asked = {"path": str(waveform), "language": language, "waveform": True, "words": False, "batch": batch}
        return self._answer({**asked, "clips": clips})

    def _answer(self, asked: Mapping[str, object]) -> Answer:
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        found = tuple((text, start, end) for text, start, end in answer["words"])
        return Answer(answer["text"], answer["seconds"], found, answer["resident_mib"])

    def _read(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended with status {self._process.wait()}; its messages are above")
        return json.loads(line)


def add_option(parser: argparse.ArgumentParser) -> None:
    python = os.environ.get("WREN_BENCH_PEER")
    parser.add_argument(
        "--peer-python",
        type=Path,
        default=Path(python) if python else None,
        help="Python that has faster-whisper [WREN_BENCH_PEER, else Wren is measured alone]",
    )
