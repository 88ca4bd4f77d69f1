import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model_store.errors import StoreUnwritable
from model_store.evaluate.errors import DataError
from model_store.evaluate.hypotheses import Hypotheses, Hypothesis, Run, kept, read
from model_store.evaluate.summary import by_set, evaluation, scores
from model_store.manifest import File
from tests.evaluate.recordings import utterance

RUN = Run(
    variant="whisper-tiny.en:int8",
    files=(File(name="encoder.onnx", sha256="0" * 64, bytes=7),),
    device="a processor, 2 threads",
    threads=2,
    versions={"wren": "1"},
    load_ms=150.0,
    peak_bytes=300_000_000,
    energy_j=None,
    date=datetime(2026, 1, 2, tzinfo=UTC),
)


def hypotheses() -> Hypotheses:
    """Ten words in 9 s: one wrong, one missing, one too many."""
    first = Hypothesis(utterance("the quick brown fox jumps"), "the quack brown fox jumps over", 8, 5.0, 0.1)
    second = Hypothesis(
        utterance("sechs sieben acht neun zehn", index=1, lang="de"), "sechs sieben acht neun", 4, 4, 0.2
    )
    return Hypotheses(RUN, (first, second))


def written(file: Path) -> Path:
    with kept(file) as keep:
        keep(hypotheses())
    return file


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    file = written(tmp_path / "deep" / "down" / "a.jsonl")
    found, expected = read(file), hypotheses()
    assert found.run == RUN
    assert scores(found)[0].errors == scores(expected)[0].errors == 2
    one, other = (evaluation(some, scores(some)) for some in (found, expected))
    assert one == other
    assert [path.name for path in file.parent.iterdir()] == ["a.jsonl"]


def test_first_line_has_the_facts_and_each_other_a_recording(tmp_path: Path) -> None:
    first, *others = map(json.loads, written(tmp_path / "a.jsonl").read_text().splitlines())
    assert first["variant"] == "whisper-tiny.en:int8"
    assert others[1] == {
        "set": "set",
        "audio": "1.wav",
        "lang": "de",
        "reference": "sechs sieben acht neun zehn",
        "hypothesis": "sechs sieben acht neun",
        "tokens": 4,
        "audio_s": 4.0,
        "seconds": 0.2,
    }


def test_evaluation_is_what_the_hypotheses_say() -> None:
    some = hypotheses()
    found = evaluation(some, scores(some))
    assert (found.words, found.substitutions, found.deletions, found.insertions) == (10, 1, 1, 1)
    assert (found.wer, found.recordings, found.audio_s) == (30.0, 2, 9.0)
    assert found.wer_low <= found.wer <= found.wer_high
    assert (found.speed, found.tokens_per_s) == pytest.approx((30.0, 40.0))
    assert (found.latency_p50_ms, found.latency_p95_ms) == pytest.approx((150.0, 195.0))
    assert (found.data, found.load_ms, found.peak_bytes) == ("set", 150.0, 300_000_000)
    assert by_set(scores(some)) == {"set": 30.0}


def test_what_is_not_written_to_the_end_leaves_what_was_there(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl")
    before = file.read_bytes()
    with pytest.raises(KeyboardInterrupt), kept(file):
        raise KeyboardInterrupt
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_place_that_cannot_be_written_shows_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnwritable, match="file"), kept(tmp_path / "file" / "a.jsonl"):
        pytest.fail("the work was begun")


@pytest.mark.parametrize(
    ("number", "line", "reason"),
    [
        (1, '{"set": "a"}', "line 1: variant: Field required"),
        (2, '{"set": "a"', "line 2: Invalid JSON"),
        (3, '{"set": "a"}', "line 3: audio: Field required"),
    ],
)
def test_broken_line_is_named(tmp_path: Path, number: int, line: str, reason: str) -> None:
    file = written(tmp_path / "a.jsonl")
    lines = file.read_text().splitlines()
    lines[number - 1] = line
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=reason):
        read(file)


def test_file_without_recordings_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    with pytest.raises(DataError, match="No such file"):
        read(file)
    file.write_text("")
    with pytest.raises(DataError, match="it is empty"):
        read(file)
    file.write_text(RUN.model_dump_json() + "\n")
    with pytest.raises(DataError, match="it holds no recording"):
        read(file)
