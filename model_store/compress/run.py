"""A draft and a recipe in, the draft after all of its steps out."""

from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.hierarchical import Hierarchical
from model_store.compress.quantise import FORMS, FormName, Quantise
from model_store.compress.recipe import Recipe
from model_store.compress.steps import Step, carry_out
from model_store.convert import torch_tensors
from model_store.errors import CompressionError


def compressed(draft: Draft, recipe: Recipe, context: Context | None = None) -> Draft:
    """Carry out the steps, in order.

    Raises:
        CompressionError: one cannot be, on this model, for that runtime or without recordings.
    """
    _refuse_foreign_forms(recipe)
    given = context or Context()
    for number, step in enumerate(recipe.steps, start=1):
        given.report(f"step {number} of {len(recipe.steps)}: {step.step}")
        draft = carry_out(draft, step, given)
    return draft


def _refuse_foreign_forms(recipe: Recipe) -> None:
    """Before the first step is carried out: some take minutes."""
    known = [name for name, form in FORMS.items() if torch_tensors.has(recipe.runtime, form)]
    for step in recipe.steps:
        asked = _form(step)
        if asked is not None and asked not in known:
            reason = f"on {recipe.runtime} no matrix can be in the form {asked!r}; use one of {', '.join(known)}"
            raise CompressionError(step.step, reason)


def _form(step: Step) -> FormName | None:
    match step:
        case Quantise():
            return step.form
        case Hierarchical():
            return step.low
        case _:
            return None
