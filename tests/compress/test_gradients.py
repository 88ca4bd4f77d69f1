"""torch computes what onnxruntime does, and its gradients are slopes. Only where torch is installed."""

import numpy as np
import pytest

from model_store.compress.context import Context
from model_store.compress.probe import Probe
from model_store.compress.prune import Prune, prune
from model_store.convert.parameters import Form
from model_store.errors import CompressionError
from tests.compress.drafts import calibration, small_draft, small_examples

torch = pytest.importorskip("torch")

from model_store.compress.gradients import Forward, gradients  # noqa: E402 - torch is needed for it


def test_logits_are_those_of_the_graphs() -> None:
    probe, forward = Probe(small_draft().model, Form(), threads=1), Forward(small_draft().model.weights)
    for example in small_examples():
        theirs = probe.force(example, probe.encode(example))["logits"][0]
        ours = forward.logits(example)[list(example.wanted)].detach().numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("name", ["encoder.layers.1.fc1.weight", "decoder.layers.0.encoder_attn.k_proj.weight"])
def test_a_gradient_is_the_slope_of_the_loss(name: str) -> None:
    example, step = small_examples()[0], 1e-5
    forward = Forward(small_draft().model.weights, torch.float64)
    (gradient,) = torch.autograd.grad(forward.loss(example), [forward.weights[name]])
    place = int(gradient.abs().argmax())
    values = forward.weights[name].detach().view(-1)
    losses = []
    for shift in (step, -2 * step):
        values[place] += shift
        losses.append(float(forward.loss(example).detach()))
    assert float(gradient.view(-1)[place]) == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-4)


def test_squares_are_meaned_over_examples() -> None:
    first, second = (gradients(small_draft().model, [one]) for one in small_examples())
    both = gradients(small_draft().model, small_examples())
    for name, gradient in both.items():
        np.testing.assert_allclose(gradient**2, (first[name] ** 2 + second[name] ** 2) / 2, rtol=1e-3, atol=1e-9)


def test_weights_go_that_the_loss_hardly_depends_on() -> None:
    name = "decoder.layers.1.fc1.weight"
    settings = Prune(step="prune", share=0.5, criterion="gradient", scope="matrix", layers=(name,))
    draft = prune(small_draft(), settings, Context(calibration(real=False)))
    scores = np.abs(small_draft().model.weights[name]) * gradients(small_draft().model, small_examples())[name]
    gone = draft.model.weights[name] == 0
    assert scores[gone].max() <= scores[~gone].min()


def test_other_families_are_refused() -> None:
    model = small_draft().model
    with pytest.raises(CompressionError, match="moonshine"):
        gradients(type(model)("moonshine", model.weights, model.config, model.tokenizer), small_examples())
