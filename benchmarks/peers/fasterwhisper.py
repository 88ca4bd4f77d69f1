"""faster-whisper behind standard input and output: a JSON object a line in, a JSON object a line out.

PYTHON -P fasterwhisper.py MODEL_DIR --compute int8 --threads 2, with a Python that has faster-whisper and nothing of
Wren. It answers once when the model is loaded, then each request, with "path", "language", "waveform", "words", "batch"
and "clips". Decoding of the file is part of the time, unless "waveform" asks for it beforehand. "clips", pairs of
seconds, are what the batched pipeline recognises in place of the speech that it finds. A path may be that of an .npy.
"""

import argparse
import json
import os
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel, decode_audio


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def read(path: str) -> np.ndarray:
    return np.load(path) if path.endswith(".npy") else decode_audio(path)


class Recogniser:
    def __init__(self, model: WhisperModel) -> None:
        self._model, self._batched = model, BatchedInferencePipeline(model=model)

    def answer(self, asked: dict[str, object]) -> dict[str, object]:
        audio = read(asked["path"]) if asked["waveform"] else asked["path"]
        options = {"beam_size": 1, "language": asked["language"], "word_timestamps": asked["words"]}
        transcribe = self._model.transcribe
        if asked["batch"]:
            transcribe, options = self._batched.transcribe, {**options, "batch_size": asked["batch"]}
        if asked["clips"]:
            clips = [{"start": start, "end": end} for start, end in asked["clips"]]
            options |= {"vad_filter": False, "clip_timestamps": clips}
        started = time.perf_counter()
        segments = list(transcribe(audio, **options)[0])
        seconds = time.perf_counter() - started
        words = [(word.word, word.start, word.end) for segment in segments for word in segment.words or ()]
        text = "".join(segment.text for segment in segments)
        return {"text": text, "seconds": seconds, "words": words, "resident_mib": resident_mib()}


def loaded(asked: argparse.Namespace) -> WhisperModel:
    return WhisperModel(asked.model, asked.device, compute_type=asked.compute, cpu_threads=asked.threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--compute", default="int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    recogniser = Recogniser(loaded(asked))
    ready = {name: version(name) for name in ("faster-whisper", "ctranslate2", "av")}
    print(json.dumps({"versions": ready, "resident_mib": resident_mib()}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(recogniser.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
