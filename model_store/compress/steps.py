"""The steps that a recipe may have: the settings of each, and what carries it out.

A step that trains joins here: its settings to `Step`, a line to `carry_out`; what it needs it asks the context for.
"""

from model_store.compress.adapter import Adapter, adapter
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.hierarchical import Hierarchical, hierarchical
from model_store.compress.prune import Prune, prune
from model_store.compress.quantise import Quantise, quantise
from model_store.compress.shrink import Shrink, shrink
from model_store.compress.slim import Slim, slim
from model_store.compress.student import Student, student
from model_store.train.adapt import Adapt, adapt
from model_store.train.distil import Distil, distil
from model_store.train.tune import Tune, tune

Step = Quantise | Hierarchical | Prune | Shrink | Slim | Student | Adapter | Adapt | Distil | Tune


def carry_out(draft: Draft, step: Step, context: Context) -> Draft:
    """The draft after one more step.

    Raises:
        CompressionError: this model cannot be treated so, or recordings are wanted and there are none.
    """
    match step:
        case Quantise():
            return quantise(draft, step, context)
        case Hierarchical():
            return hierarchical(draft, step, context)
        case Prune():
            return prune(draft, step, context)
        case Shrink():
            return shrink(draft, step, context)
        case Slim():
            return slim(draft, step, context)
        case Adapter():
            return adapter(draft, step)
        case Adapt():
            return adapt(draft, step, context)
        case Distil():
            return distil(draft, step, context)
        case Tune():
            return tune(draft, step, context)
        case Student():
            return student(draft, step, context)
