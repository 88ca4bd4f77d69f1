"""Are the finals of a stream the same however its bytes are cut, and do they lie end to end?

python -m benchmarks.stream_chunks --data DIR [--recordings N --chunks 1 7 160 …]

The same recordings with a pause after each, joined, streamed faster than they play: in chunks of one sample to all at
once, as linear16 and mu-law, and as Opus in Ogg and in WebM, whose chunks are as many bytes. What is final, with the
times of its words, must be equal to what it is where all is sent at once.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import av
import numpy as np
import soundfile
import soxr

from benchmarks import options, report
from benchmarks.live import LINEAR16, Heard, Sound, Told, gaps, linear16, stream
from benchmarks.local import variant
from benchmarks.pipeline import waveform
from benchmarks.servers import Server, wren
from benchmarks.speech import Utterance, score, wer
from service.audio.types import SAMPLE_RATE, Samples

SETS = ("libri_eval", "ljspeech")
CHUNKS = (1, 7, 160, 1600, SAMPLE_RATE, 10 * SAMPLE_RATE)
"""Samples, or bytes of a container; all at once is always tried."""

PAUSE_S = 1.0
RECORDINGS = 3
TELEPHONE = 8_000
OPUS = 48_000

ASKED = {"endpointing": "300", "utterance_end_ms": "1000", "interim_results": "true", "vad_events": "true"}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A whole recording as it is sent; `unit` is the bytes of a sample, 1 for a container."""

    name: str
    audio: bytes
    unit: int
    duration_s: float
    layout: dict[str, str]

    def cut(self, chunk: int | None) -> Sound:
        """In chunks of so many samples; all at once for None."""
        size = len(self.audio) if chunk is None else chunk * self.unit
        chunks = tuple(self.audio[at : at + size] for at in range(0, len(self.audio), size))
        return Sound(self.name, chunks, size / len(self.audio) * self.duration_s, self.duration_s, self.layout)


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one way to cut; `apart_s` is by how much finals do not lie end to end, `equal` to all at once."""

    encoding: str
    chunk: int | None
    messages: int
    seconds: float
    code: int | None
    finals: int
    apart_s: float
    equal: bool


def encodings(samples: Samples) -> Iterator[Encoded]:
    duration_s = len(samples) / SAMPLE_RATE
    yield Encoded("linear16", linear16(samples), 2, duration_s, dict(LINEAR16))
    telephone = soxr.resample(samples, SAMPLE_RATE, TELEPHONE)
    mulaw = BytesIO()
    soundfile.write(mulaw, telephone, TELEPHONE, format="RAW", subtype="ULAW")
    layout = {"encoding": "mulaw", "sample_rate": str(TELEPHONE)}
    yield Encoded("mulaw", mulaw.getvalue(), 1, len(telephone) / TELEPHONE, layout)
    for container in ("ogg", "webm"):
        yield Encoded(f"{container}-opus", opus(samples, container), 1, duration_s, {})


def opus(samples: Samples, container: str) -> bytes:
    """As a browser sends it, but for the length of the clusters."""
    file = BytesIO()
    loud = soxr.resample(samples, SAMPLE_RATE, OPUS).astype(np.float32).reshape(1, -1)
    with av.open(file, "w", format=container) as media:
        track = media.add_stream("libopus", rate=OPUS)
        track.layout = "mono"
        frame = av.AudioFrame.from_ndarray(loud, format="flt", layout="mono")
        frame.sample_rate, frame.pts = OPUS, 0
        for packet in [*track.encode(frame), *track.encode(None)]:
            media.mux(packet)
    return file.getvalue()


def said(heard: Heard) -> list[tuple[object, ...]]:
    """All that must not depend on how the bytes were cut."""
    return [(one.start_s, one.end_s, one.text, one.words, one.speech_final) for one in heard.finals]


def end_s(finals: Sequence[Told], duration_s: float) -> float:
    """Containers may end some milliseconds before or after what was put in: then where the last final does."""
    return finals[-1].end_s if finals else duration_s


def row(encoded: Encoded, chunk: int | None, heard: Heard, whole: Heard, seconds: float) -> Row:
    finals = heard.finals
    duration_s = encoded.duration_s if encoded.layout else end_s(finals, encoded.duration_s)
    apart_s, equal = gaps(finals, duration_s), said(heard) == said(whole)
    return Row(encoded.name, chunk, len(heard.sound.chunks), seconds, heard.code, len(finals), apart_s, equal)


def tried(server: Server, encoded: Encoded, chunks: Sequence[int]) -> tuple[Heard, list[Row]]:
    """All at once first: what it gives is what the others are compared with."""
    rows: list[Row] = []
    whole: Heard | None = None
    for chunk in (None, *chunks):
        started = time.perf_counter()
        heard = asyncio.run(stream(server, encoded.cut(chunk), ASKED, paced=False))
        whole = whole or heard
        rows.append(row(encoded, chunk, heard, whole, time.perf_counter() - started))
    assert whole is not None
    return whole, rows


def joined(recordings: Sequence[Utterance]) -> tuple[Samples, Utterance]:
    """One recording of all, a pause after each."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    samples = np.concatenate([part for u in recordings for part in (waveform(u), pause)])
    text = " ".join(u.text for u in recordings)
    first = recordings[0]
    return samples, Utterance(first.set_name, "joined", first.path, text, "en", len(samples) / SAMPLE_RATE)


def show(found: Sequence[Row], duration_s: float, errors: dict[str, float]) -> None:
    columns = ["", "chunk", "messages", "seconds", "times real time", "closed", "finals", "apart s", "as all at once"]
    rows: list[list[report.Cell]] = []
    for one in found:
        speed = [one.messages, one.seconds, duration_s / one.seconds]
        same = "equal" if one.equal else "NOT EQUAL"
        rows.append([one.encoding, one.chunk or "all", *speed, one.code, one.finals, f"{one.apart_s:.4f}", same])
    report.show(f"{duration_s:.1f} s of speech, cut to chunks of so many samples or bytes", columns, rows)
    report.show("WER of all at once, %", ["", "WER"], [[name, error] for name, error in errors.items()])


def parsed() -> argparse.Namespace:
    parser = options.parser(__doc__, sets=SETS)
    parser.add_argument("--model", default="whisper-tiny.en:int8")
    parser.add_argument("--recordings", type=int, default=RECORDINGS, help="that are joined")
    parser.add_argument("--chunks", nargs="+", type=int, default=list(CHUNKS), help="samples, or bytes of a container")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    recordings = [u for u in options.utterances(asked) if u.lang == "en"][: asked.recordings]
    samples, together = joined(recordings)
    model = variant(asked.store, asked.model).name
    rows: list[Row] = []
    errors: dict[str, float] = {}
    with wren(asked.store, model, threads=asked.threads) as server:
        for encoded in report.progress(list(encodings(samples)), "encodings"):
            whole, found = tried(server, encoded, asked.chunks)
            rows += found
            errors[encoded.name] = wer([score(together, whole.text)])
    duration_s = len(samples) / SAMPLE_RATE
    show(rows, duration_s, errors)
    report.record(
        "stream_chunks",
        recordings,
        model=model,
        threads=asked.threads,
        seconds=duration_s,
        wer=errors,
        unequal=[f"{one.encoding} {one.chunk}" for one in rows if not one.equal],
        worst_apart_s=max(one.apart_s for one in rows),
        messages_a_second=max(one.messages / one.seconds for one in rows),
    )


if __name__ == "__main__":
    main()
