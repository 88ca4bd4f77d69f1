"""A draft and a recipe in, the draft after all of its steps out."""

from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.recipe import Recipe
from model_store.compress.steps import carry_out


def compressed(draft: Draft, recipe: Recipe, context: Context | None = None) -> Draft:
    """Carry out the steps, in order.

    Raises:
        CompressionError: one cannot be, on this model or without recordings.
    """
    given = context or Context()
    for number, step in enumerate(recipe.steps, start=1):
        given.report(f"step {number} of {len(recipe.steps)}: {step.step}")
        draft = carry_out(draft, step, given)
    return draft
