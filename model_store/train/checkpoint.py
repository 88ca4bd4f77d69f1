"""Where a training stands, on disk: parameters, the optimiser's moments and what was seen, in one safetensors file.

Nothing is pickled. A file appears whole or not at all, so a run may be killed at any moment.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_STANDING = "standing"


@dataclass(slots=True)
class Standing:
    """How far a training is.

    Attributes:
        digest: of all that it depends on; a checkpoint of anything else is not gone on from.
        step: steps that are done.
        losses: the mean loss of each step.
        held_out: WER in percent by step, as far as it was measured.
    """

    digest: str
    step: int = 0
    losses: list[float] = field(default_factory=list)
    held_out: dict[int, float] = field(default_factory=dict)


def save(path: Path, standing: Standing, tensors: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(kept, draft, metadata={_STANDING: json.dumps(asdict(standing))})
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)


def load(path: Path, digest: str) -> tuple[Standing, dict[str, Tensor]] | None:
    """None where there is no checkpoint of this very training."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()[_STANDING])
            facts["held_out"] = {int(step): wer for step, wer in facts["held_out"].items()}
            standing = Standing(**facts)
            if standing.digest != digest:
                return None
            return standing, {name: file.get_tensor(name).to(torch.float32) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
