"""A model in; the base variant and the one that serves most machines best in their folders out."""

from pathlib import Path

from model_store.compress.draft import Draft
from model_store.compress.recipe import shipped
from model_store.compress.run import compressed
from model_store.convert import Built, Report
from model_store.convert.model import Model, write
from model_store.convert.parameters import Form

STANDARD = "int8"
"""The recipe that every model is pulled with: it needs neither recordings nor training."""


def write_variants(model: Model, target: Path, *, imported: str, report: Report) -> tuple[Built, ...]:
    """Write the base variant, made by the recipe `imported`, and the standard one, each with all that it needs."""
    report("writing fp32")
    write(model, Form(), target / "fp32")
    recipe = shipped(STANDARD)
    report(f"writing {recipe.name}")
    draft = compressed(Draft(model), recipe)
    write(draft.model, draft.form, target / recipe.name)
    return (
        Built("fp32", "fp32", "onnxruntime", None, imported),
        Built(recipe.name, recipe.precision, "onnxruntime", "fp32", recipe.name, recipe.sha256),
    )
