"""A model in; how many products of two numbers, each added to a sum, a window and a token of text take, out. Pure.

Matrices and convolutions, and attention's products. Norms, biases and softmax are a few per cent more.
"""

from dataclasses import dataclass

from model_store.compress.draft import place
from model_store.convert.model import Model

_RATES = {
    # What of a convolution is computed for each encoder position, by the stride of those behind it.
    "whisper": {
        "encoder.conv1.weight": 2,
        "encoder.conv1.depthwise.weight": 2,
        "encoder.conv1.pointwise.weight": 2,
        "encoder.conv2.weight": 1,
    },
    "moonshine": {"encoder.conv1.weight": 6, "encoder.conv2.weight": 2, "encoder.conv3.weight": 1},
}


@dataclass(frozen=True, slots=True)
class Compute:
    """Multiply-accumulates."""

    window: int
    token: int

    def of(self, tokens: int) -> int:
        """Of a window and so many tokens of text."""
        return self.window + tokens * self.token


def compute(model: Model, positions: int, past: int = 0) -> Compute:
    """Of a window of so many encoder positions, and of a token with `past` tokens before it."""
    window = token = 0
    for name, weight in model.weights.items():
        once = name.startswith("encoder.") or _reads_memory(name)
        if weight.ndim < 2 or place(name) is None or name.endswith("embed_positions.weight"):
            continue
        rate = _RATES[model.family].get(name, 1)
        window, token = (window + rate * positions * weight.size, token) if once else (window, token + weight.size)
        if name.endswith("q_proj.weight"):
            scores = 2 * len(weight)  # a key's: with the key, then with the value
            if once:
                window += positions * positions * scores
            else:
                token += scores * (positions if "encoder_attn" in name else past + 1)
    return Compute(window, token)


def _reads_memory(name: str) -> bool:
    """Keys and values of the encoder's output are computed once a window."""
    return name.endswith(("encoder_attn.k_proj.weight", "encoder_attn.v_proj.weight"))
