"""The steps that a recipe may have: the settings of each, and what carries it out."""

from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.quantise import Quantise, quantise

Step = Quantise


def carry_out(draft: Draft, step: Step, context: Context) -> Draft:
    """The draft after one more step.

    Raises:
        CompressionError: this model cannot be treated so, or recordings are wanted and there are none.
    """
    return quantise(draft, step, context)
