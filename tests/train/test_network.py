"""The network that is trained is the one that serves."""

import numpy as np
import pytest
import torch

from model_store.compress.gradients import Forward
from model_store.config import Padding, WhisperConfig
from model_store.train import low_rank, network
from model_store.train.bank import forced, windowed
from model_store.train.network import Looked
from service.audio.types import SAMPLE_RATE
from tests.compress.drafts import spoken, tiny_draft
from tests.recognition.models import clips


def weights() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(one)) for name, one in tiny_draft().model.weights.items()}


def bins() -> int:
    config = tiny_draft().model.config
    assert isinstance(config, WhisperConfig)
    return config.mel_bins


def test_logits_are_those_of_the_graphs() -> None:
    """The forward pass of `gradients` is held to the graphs by its own tests."""
    example, model = spoken()[0], tiny_draft().model
    one = Forward(model.weights)
    features = example.features
    windows = network.Windows(
        *(
            torch.from_numpy(np.array(array))[None]
            for array in (features.values, features.frames, features.positions, features.log_weights)
        )
    )
    ours = weights()
    memory = network.encoded(ours, windows)
    hidden = network.decoded(ours, torch.tensor([example.tokens[:-1]]), memory, windows.log_weights)
    wanted = one.logits(example).detach()
    assert torch.allclose(network.logits(ours, hidden)[0], wanted, atol=2e-3)


def test_rows_of_a_batch_are_as_alone() -> None:
    sounds = [clips()[0][: 2 * SAMPLE_RATE], clips()[1][:SAMPLE_RATE]]
    tokens = [(50257, 50362, 13, 50256), (50257, 50362, 11, 12, 13, 50256)]
    ours = weights()
    with torch.no_grad():
        together = windowed(sounds, bins(), Padding(dense=12, sparse=13))
        memory = network.encoded(ours, together)
        rows = network.decoded(ours, forced(tokens), memory, together.log_weights)
        for index, (sound, text) in enumerate(zip(sounds, tokens, strict=True)):
            alone = windowed([sound], bins(), Padding(dense=12, sparse=13))
            length = alone.positions.shape[1]
            assert torch.allclose(memory[index, :length], network.encoded(ours, alone)[0], atol=2e-3)
            one = network.decoded(ours, forced([text]), network.encoded(ours, alone), alone.log_weights)[0]
            assert torch.allclose(rows[index, : len(one)], one, atol=5e-3)


def test_what_was_looked_at_is_kept_by_layer() -> None:
    looked = Looked()
    windows = windowed([clips()[0][:SAMPLE_RATE]], bins(), None)
    with torch.no_grad():
        memory = network.encoded(weights(), windows, looked)
    assert len(looked.hidden) == len(looked.attention) == 4
    assert looked.hidden[0].shape == memory.shape
    assert torch.allclose(looked.attention[0].sum(-1), torch.ones(()), atol=1e-4)


@pytest.mark.parametrize("seconds", [0.2, 3.0, 30.0])
def test_a_change_that_was_not_trained_yet_changes_nothing(seconds: float) -> None:
    ours = weights()
    names = [name for name in ours if name.startswith("encoder.layers.")]
    parameters = low_rank.fresh(ours, names, 8, seed=1)
    sound = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    windows = windowed([sound], bins(), Padding(dense=12, sparse=13))
    with torch.no_grad():
        changed = network.encoded(low_rank.changed(ours, parameters), windows)
        assert torch.equal(changed, network.encoded(ours, windows))
