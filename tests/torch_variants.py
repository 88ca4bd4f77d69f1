"""Variants for torch, made of the real base variants by the recipes that come with Wren, once a session."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from model_store.compress.draft import Draft
from model_store.compress.recipe import shipped
from model_store.compress.run import compressed
from model_store.convert.model import read, write
from service.backends.torch.backend import TorchBackend
from tests.store import folder

CPU = torch.device("cpu")

_built = TemporaryDirectory(prefix="wren-torch-")


@cache
def torch_folder(model: str, recipe: str) -> Path:
    """The folder of a variant, without a manifest."""
    target = Path(_built.name) / f"{model}-{recipe}"
    draft = compressed(Draft(read(folder(model, "fp32"))), shipped(recipe))
    write(draft.model, draft.form, target, runtime="torch")
    return target


@cache
def torch_backend(model: str, variant: str) -> TorchBackend:
    """A variant by the name of its recipe; "fp32-torch" is the base variant itself."""
    made = folder(model, "fp32") if variant == "fp32-torch" else torch_folder(model, variant)
    return TorchBackend(made, devices=(CPU,), threads=1)
