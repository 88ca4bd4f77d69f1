"""Losses, by hand."""

import math

import pytest
import torch

from model_store.train.losses import attention_transfer, cosine_distance, cross_entropy, divergence, squared_difference


def test_divergence_of_coins() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    wanted = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(divergence(student, teacher)) == pytest.approx(wanted)
    assert float(divergence(teacher, teacher)) == pytest.approx(0, abs=1e-7)


def test_temperature_softens_and_keeps_gradients_as_large() -> None:
    student = torch.zeros(1, 2, requires_grad=True)
    teacher = torch.tensor([[0.02, 0.0]])
    slopes = [torch.autograd.grad(divergence(student, teacher, t), student)[0] for t in (1.0, 4.0)]
    # Of logits so close to each other a temperature changes a gradient by its first power alone.
    assert torch.allclose(slopes[1], slopes[0] * 4 / 4, rtol=0.01)


def test_squared_difference_is_a_mean_over_the_width() -> None:
    assert float(squared_difference(torch.zeros(3, 4), torch.full((3, 4), 2.0))) == 12


def test_attention_of_fewer_heads_can_be_compared() -> None:
    ours, theirs = torch.full((1, 1, 2, 4), 0.25), torch.full((1, 3, 2, 4), 0.25)
    assert float(attention_transfer(ours, theirs)) == pytest.approx(0, abs=1e-6)


def test_cross_entropy_is_summed_over_tokens() -> None:
    assert float(cross_entropy(torch.zeros(2, 8), torch.tensor([1, 5]))) == pytest.approx(2 * math.log(8))


def test_cosine_distance_of_opposites_is_two() -> None:
    one = torch.tensor([[1.0, 2.0]])
    assert float(cosine_distance(one, -one)) == pytest.approx(2)
    assert float(cosine_distance(one, 5 * one)) == pytest.approx(0, abs=1e-6)
