"""What do rows in a decode batch save, and how are the cores best shared between executors?

python -m benchmarks.executors [--models M … --threads N --seconds S]

Windows of 6 s with 24 tokens, as `service.engine.timing` measures them at the first start: nothing but the backend, so
that what HTTP and audio cost stays out. Layouts take turns, so that noise hits all alike.
"""

import statistics
from dataclasses import replace

from benchmarks import options, report
from benchmarks.local import variant
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.backends.onnx import OnnxBackend
from service.engine.forming import Layout, layouts
from service.engine.timing import STEPS, measure, throughput
from service.recognition import families
from service.recognition.recognizer import Recognizer

ROWS = (1, 2, 4, 8, 16)
TURNS = 3


def loaded(registry: Registry, manifest: Manifest, layout: Layout, *, threads: int) -> Recognizer:
    folder = registry.path(manifest)
    backend = OnnxBackend(folder, threads=layout.threads, encoder_threads=min(threads, 2 * layout.threads))
    recognizer = Recognizer(backend, families.load(folder))
    recognizer.warmup()
    return recognizer


def windows_per_s(
    registry: Registry, manifest: Manifest, *, threads: int, seconds: float
) -> dict[str, dict[int, float]]:
    """By layout and rows of a decode batch, the median of the turns."""
    recognizers = {one: loaded(registry, manifest, one, threads=threads) for one in layouts(threads)}
    base = measure(next(iter(recognizers.values())), most_rows=1)
    found: dict[tuple[Layout, int], list[float]] = {}
    for rows in report.progress(ROWS * TURNS, manifest.name):
        for layout, recognizer in recognizers.items():
            speed = throughput(recognizer, replace(base, rows=rows), layout, seconds=seconds)
            found.setdefault((layout, rows), []).append(speed)
    return {
        f"{layout.executors} x {layout.threads}": {rows: statistics.median(found[layout, rows]) for rows in ROWS}
        for layout in recognizers
    }


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--models", nargs="+", default=["whisper-tiny.en:int8", "whisper-tiny.en:fp32"])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each trial")
    asked = parser.parse_args()
    registry = Registry(asked.store)
    found = {}
    for name in asked.models:
        manifest = variant(asked.store, name)
        found[manifest.name] = windows_per_s(registry, manifest, threads=asked.threads, seconds=asked.seconds)
        columns = ["executors x threads", *(f"{rows} rows" for rows in ROWS)]
        rows = [[layout, *speeds.values()] for layout, speeds in found[manifest.name].items()]
        report.show(f"{manifest.name}: windows of 6 s and {STEPS} tokens a second", columns, rows)
    report.record("executors", threads=asked.threads, windows_per_s=found)


if __name__ == "__main__":
    main()
