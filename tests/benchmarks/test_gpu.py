"""What the benchmarks of GPUs count with; that they run without one, and say so."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from benchmarks.agreement import agreement, differing, rate
from benchmarks.batches import Batches, Kind, Ran
from benchmarks.card import NONE, Card, card
from benchmarks.costs import TOKENS, Cost, Variant, middle, windows_a_second
from benchmarks.gpu import CPU_ROWS, ENGLISH, GPU_ROWS, sizes, speed
from benchmarks.held import Held, Unload, returned
from benchmarks.local import there
from benchmarks.pipeline import backend, waveform
from benchmarks.precisions import apart
from benchmarks.speech import PACKAGED, Utterance, load
from benchmarks.thirties import cut, repeated, spoken, windows
from service.audio.types import SAMPLE_RATE, Piece, Window
from service.engine.forming import Point
from service.recognition import families
from service.recognition.recognizer import Recognizer
from service.recognition.types import Segment, Token
from tests.store import STORE, folder

ROOT = Path(__file__).parents[2]
INT8 = folder("whisper-tiny.en", "int8")


@pytest.fixture(scope="module")
def english() -> list[Utterance]:
    return load(None, [PACKAGED], languages=["en"])


def asked(**given: object) -> Namespace:
    return Namespace(**{"data": Path("somewhere"), "rows": None, **given})


def segment(text: str) -> Segment:
    tokens = tuple(Token(ord(letter), letter.encode(), -0.1) for letter in text)
    return Segment(0.0, 1.0, text, tokens, 0.0, -0.1, 1.0, 0.0)


def ran(*texts: str, wall_s: float = 2.0) -> Ran:
    found = tuple((segment(text),) if text else () for text in texts)
    return Ran(found, audio_s=30.0 * len(texts), wall_s=wall_s, encode_s=0.5, decode_s=1.0, decodings=len(texts))


def test_windows_are_whole_and_begin_at_three_places() -> None:
    samples = np.arange(95 * SAMPLE_RATE, dtype=np.float32)
    found = windows([samples])
    assert [one.pieces[0].source_start // SAMPLE_RATE for one in found] == [0, 30, 60, 10, 40, 20, 50]
    assert {one.duration_s for one in found} == {30.0}
    assert found[3].samples[0] == 10 * SAMPLE_RATE
    assert not list(cut(samples[: 30 * SAMPLE_RATE - 1], 30.0))


def test_windows_come_again_where_there_are_too_few() -> None:
    found = windows([np.zeros(60 * SAMPLE_RATE, np.float32)])
    assert repeated(found, 6) == [*found, *found[:2]]
    assert repeated(found, 1) == found[:1]


def test_packaged_recordings_are_enough_for_a_window() -> None:
    _, waveforms = spoken(Namespace(data=None, sets=[PACKAGED], languages=["en"], limit=None))
    assert windows(waveforms)


def test_sizes_are_small_on_a_cpu_and_smaller_without_data() -> None:
    large, small = sizes(asked(), gpu=True), sizes(asked(), gpu=False)
    assert (large.rows, small.rows) == (GPU_ROWS, CPU_ROWS)
    assert [large.windows(rows) for rows in (1, 256, 4096)] == [64, 1024, 1024]
    assert [small.windows(rows) for rows in (1, 16)] == [8, 32]
    assert sizes(asked(data=None), gpu=True).most == 8
    assert sizes(asked(rows=[2, 3]), gpu=True).rows == (2, 3)


def test_speed_is_the_median_of_turns_and_its_stages_are_all_of_the_time() -> None:
    turns = [ran("ab", "abcd", wall_s=wall_s) for wall_s in (1.0, 2.0, 30.0)]
    found = speed(turns, turns[1], rows=8, kind="closed")
    assert (found.rtfx, found.rtfx_of_turns, found.tokens) == (30.0, (60.0, 30.0, 2.0), 3.0)
    assert (found.encode_percent, found.decode_percent, found.host_percent) == (25.0, 50.0, 25.0)


def test_windows_a_second_are_by_the_steps_of_most_rows() -> None:
    steps = (Point(1, 1536, 4.0), Point(8, 1536, 8.0))
    assert windows_a_second(100.0, steps) == pytest.approx(1e3 / (100.0 + TOKENS))


def test_cost_of_several_turns_is_their_median_and_the_most_memory() -> None:
    turns = [
        Cost(40.0, None, mb, ms, ms, {1: ms}, 1e3 / ms) for mb, ms in ((300.0, 10.0), (310.0, 90.0), (305.0, 20.0))
    ]
    assert middle(turns) == Cost(40.0, None, 310.0, 20.0, 20.0, {1: 20.0}, 50.0)


def test_agreement_counts_windows_whose_tokens_differ(english: list[Utterance]) -> None:
    one, two = english[:2]
    silence = Window(np.zeros(1, np.float32), (Piece(0, 0, 1),))
    places = [(one, silence), (one, silence), (two, silence)]
    first, rest = one.text.split(" ", 1)
    exact, alone = ran(first, f" {rest}", two.text), ran(first, f" {rest}", "Nothing.")
    found = agreement(places, exact, alone, {8: ran(first, " no", "Nothing."), 64: alone})
    assert rate(places, exact.texts) == 0
    assert found.points == found.wer > 0
    assert (found.windows, found.differ) == (3, 1)
    assert [(each.rows, each.differ) for each in found.company] == [(8, 1), (64, 0)]
    assert found.company[0].wer > found.company[1].wer == found.wer
    assert differing([1, 2], [1, 3]) == 1


def test_batches_say_what_the_recogniser_says(english: list[Utterance]) -> None:
    recognizer = Recognizer(backend(INT8, "onnxruntime", threads=1), families.load(INT8))
    found = [Window(samples, (Piece(0, 0, len(samples)),)) for samples in map(waveform, english)]
    expected = [
        "".join(segment.text for part in recognizer.recognize([one], ENGLISH) for segment in part.segments)
        for one in found
    ]
    batches = Batches(recognizer, rows=2)
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        run = batches.run(found, ENGLISH, kind=kind, timed=True)
        assert run.texts == expected
        assert run.decodings == len(found) or kind != "once"
        assert sum(run.shares) == pytest.approx(100)
        assert run.audio_s == pytest.approx(sum(one.duration_s for one in found))


def test_variant_is_measured_in_a_process_of_its_own() -> None:
    found = apart(Variant("int8", INT8, "onnxruntime"), (1, 2), threads=1)
    assert set(found.step_ms) == {1, 2}
    assert 40 < found.file_mb < 45
    assert found.weights_mb is None
    assert min(found.peak_mb, found.encode_ms, found.windows_s) > 0


def test_missing_variants_are_named() -> None:
    found, absent = there(STORE, ["whisper-tiny.en:int8", "whisper-tiny.en:int2", "nothing:at-all"])
    assert [one.name for one in found] == ["whisper-tiny.en:int8"]
    assert absent == ["whisper-tiny.en:int2", "nothing:at-all"]


def test_figures_of_the_cpu_say_that_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WREN_DEVICE", "cpu")
    found = card()
    assert not found.gpu
    assert NONE in found.title
    assert NONE not in Card("NVIDIA X", "", "1.2", "2.13", "12.8").title


def test_benchmark_runs_and_names_its_device() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--threads", "1", "--repeats", "1"]
    chosen = ["--models", "whisper-tiny.en:int2", "--store", str(STORE)]
    alone = {**os.environ, "WREN_BENCH_PEER": "", "WREN_BENCH_DATA": ""}
    done = subprocess.run([*command, *chosen], cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    assert NONE in done.stdout
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["card"]["device"] == "cpu"
    assert told["missing"] == ["whisper-tiny.en:int2"]


def test_unloads_tell_what_came_back_and_what_stayed() -> None:
    def unload(name: str, before: float, after: float, resident_mb: float) -> Unload:
        return Unload(name, Held(before, before + 500, 900.0), Held(after, after + 500, resident_mb))

    found = returned([unload("m:a", 120, 40, 300), unload("m:b", 120, 80, 400), unload("m:a", 130, 40, 310)])
    assert (found["m:a"].unloads, found["m:b"].unloads) == (2, 1)
    assert (found["m:a"].weights_before_mb, found["m:a"].weights_after_mb) == (125, 40)
    assert (found["m:a"].cards_before_mb, found["m:a"].cards_last_mb) == (625, 540)
    assert (found["m:a"].resident_first_mb, found["m:a"].resident_last_mb) == (300, 310)


def test_unloads_without_a_gpu_tell_nothing_of_one() -> None:
    held = Held(0.0, None, 900.0)
    found = returned([Unload("m:a", held, held)])["m:a"]
    assert (found.cards_before_mb, found.cards_after_mb, found.cards_last_mb) == (None, None, None)
