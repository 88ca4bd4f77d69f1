"""What a variant costs on this machine: figures for the scheduler, which batches by them, and for the plan."""

from dataclasses import dataclass

from model_store.manifest import Manifest
from service.engine.forming import EncodeCosts, Layout, Point
from service.engine.plan import Costs
from service.recognition.recognizer import Recognizer

UNDIVIDED = Layout(1, 1)


@dataclass(frozen=True, slots=True)
class Timings:
    """What is timed beyond what the scheduler needs.

    Attributes:
        steps: of decoder steps: rows, memory positions of each, milliseconds.
        load_ms: from the manifest to warmed up.
        row_bytes: the caches of a row, in the batches that windows mostly join.
        speed: seconds of audio a second with all executors busy.
    """

    steps: tuple[Point, ...]
    load_ms: float
    row_bytes: int
    speed: float


@dataclass(frozen=True, slots=True)
class Service:
    """What a process was seen to need that serves this variant alone, one request at a time.

    Attributes:
        idle_bytes: resident when it is warm.
        utterance_bytes: the most that ever was while utterances of `plan.UTTERANCE_S` came and nothing else.
        peak_bytes: the most that ever was, after longer recordings and a window of 30 s.
        file_bytes: of that, pages of files, such as those of libraries.
        latency_ms: of an utterance of `plan.UTTERANCE_S`, from its bytes to its text.
        gpu_idle_bytes: the most that was taken of one GPU until it was warm; 0 if it does not compute there.
        gpu_bytes: the most that ever was, with caches for all rows.
    """

    idle_bytes: int
    utterance_bytes: int
    peak_bytes: int
    file_bytes: int
    latency_ms: float
    gpu_idle_bytes: int = 0
    gpu_bytes: int = 0

    @property
    def needed_bytes(self) -> int:
        """What a limit must allow: all that is resident for utterances, and at the most what cannot be taken back."""
        return max(self.utterance_bytes, self.peak_bytes - self.file_bytes)


@dataclass(frozen=True, slots=True)
class Profile:
    """Measured costs of a variant.

    Attributes:
        encode: of encoder batches.
        rows: of a decode batch, with the reason.
        speed: seconds of audio a second that one executor can do with that many rows.
        layout: the executors that compute most, with the reason.
        timings, service: None where a server had to measure the rest by itself, since nobody profiled the variant.
    """

    encode: EncodeCosts
    rows: int
    reason: str
    speed: float
    layout: Layout = UNDIVIDED
    layout_reason: str = "not compared with others"
    timings: Timings | None = None
    service: Service | None = None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Hosted:
    """A variant in memory with what it costs here; `load_ms` is what it took to load it."""

    manifest: Manifest
    recognizer: Recognizer
    profile: Profile
    load_ms: float = 0.0


def speed_of(profile: Profile, executors: int) -> float:
    """Seconds of audio a second that so many executors do."""
    return profile.timings.speed if profile.timings else profile.speed * executors


def costs(profile: Profile) -> Costs | None:
    """What the plan asks; None if the variant was not profiled, only measured by the way."""
    timings, service = profile.timings, profile.service
    if timings is None or service is None:
        return None
    return Costs(
        memory_bytes=service.needed_bytes,
        row_bytes=timings.row_bytes,
        load_ms=timings.load_ms,
        latency_ms=service.latency_ms,
        speed=timings.speed,
        executors=profile.layout.executors,
        rows=profile.rows,
        idle_bytes=service.idle_bytes,
        gpu_bytes=max(service.gpu_idle_bytes, service.gpu_bytes - (profile.rows - 1) * timings.row_bytes),
    )
