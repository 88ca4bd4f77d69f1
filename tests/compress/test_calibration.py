"""What is seen of a model at work is what it computes."""

import numpy as np
import pytest

from model_store.compress.examples import Spoken, examples
from model_store.compress.probe import Probe
from model_store.convert.parameters import Form
from service.backends.base import EncoderBatch
from service.backends.onnx import OnnxBackend
from service.recognition.families import load
from tests.compress.drafts import CLIPS, TINY, calibration, small_draft, small_examples, spoken, tiny_draft
from tests.live import recording
from tests.store import folder


def test_an_example_is_what_the_model_says() -> None:
    family = load(folder(TINY, "fp32"))
    texts = [b"".join(family.tokenizer.pieces(one.tokens[one.text_from : -1])).decode() for one in spoken()]
    assert "quick brown fox" in texts[0].lower()
    assert all(one.tokens[-1] == family.end_token for one in spoken())
    assert all(len(one.wanted) == len(one.tokens) - one.text_from for one in spoken())


def test_long_recordings_give_more_windows_than_one() -> None:
    clips = [Spoken(recording(CLIPS[0]), "en")]
    assert len(examples(folder(TINY, "fp32"), clips, most=1, threads=1)) == 1


def test_recordings_of_other_languages_are_left_out() -> None:
    assert examples(folder(TINY, "fp32"), [Spoken(recording(CLIPS[0]), "de")], most=3, threads=1) == ()


def test_forced_logits_are_those_that_serve() -> None:
    (example, *_), backend = spoken(), OnnxBackend(folder(TINY, "fp32"), threads=1)
    probe = Probe(tiny_draft().model, Form(), threads=1)
    ours = probe.force(example, probe.encode(example))["logits"]
    (memory,) = backend.encode(EncoderBatch.of([example.features]))
    rows = backend.open(capacity=1, length=memory.length)
    rows.join(memory)
    theirs = rows.step(np.array([example.tokens[:-1]]), wanted=example.wanted).logits
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert ours.argmax(axis=-1)[0].tolist() == list(example.tokens[example.text_from :])


def test_inputs_are_seen_of_every_matrix_that_is_multiplied_with() -> None:
    seen = calibration(real=False).inputs(small_draft())
    assert {len(one.mean_square) for one in seen.values()} == {128, 96}
    assert all(one.low <= one.high and (one.mean_square >= 0).all() for one in seen.values())
    # The second half of a feed-forward part is multiplied with what GELU gives.
    assert all(-0.2 < one.low <= 0 for name, one in seen.items() if name.endswith("fc2.weight"))


def test_mean_squares_are_over_all_examples() -> None:
    """The last norm's output is multiplied with the embedding: its mean square is that of its scale and shift."""
    exact, draft = Probe(small_draft().model, Form(), threads=1), small_draft()
    seen = calibration(real=False).inputs(draft)["decoder.embed_tokens.weight"]
    table = draft.model.weights["decoder.embed_tokens.weight"]
    logits = [exact.force(one, exact.encode(one))["logits"][0] for one in small_examples()]
    hidden = np.linalg.lstsq(table, np.concatenate(logits).T, rcond=None)[0].T
    np.testing.assert_allclose(seen.mean_square, np.square(hidden).mean(axis=0), rtol=1e-2)
    assert seen.low == pytest.approx(hidden.min(), rel=1e-2)
    assert seen.high == pytest.approx(hidden.max(), rel=1e-2)


def test_float32_diverges_from_itself_by_nothing() -> None:
    assert calibration(real=False).divergence(small_draft(), [Form()]) == [0.0]
