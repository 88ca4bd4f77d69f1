"""Everything that can go wrong with a comparison, as a branch of the store's tree. Messages are fit for a terminal.

ComparisonError (StoreError)
├── NothingEvaluated (LookupError)   no variant was evaluated, so there is nothing to compare
└── NoSuchData (LookupError)         no variant was evaluated on the recordings that are asked for
"""

from collections.abc import Sequence

from model_store.errors import StoreError


class ComparisonError(StoreError):
    """The root of this branch."""


class NothingEvaluated(ComparisonError, LookupError):
    """No variant was evaluated, so there is nothing to compare."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        if not names:
            super().__init__("There is no speech model to compare. Get one first: wren models pull whisper-tiny.en")
            return
        models = " ".join(dict.fromkeys(name.partition(":")[0] for name in names))
        super().__init__(f"No variant was evaluated yet. Evaluate them first: wren evaluate {models} --data DIR")


class NoSuchData(ComparisonError, LookupError):
    """No variant was evaluated on the recordings that are asked for."""

    def __init__(self, data: str, known: Sequence[str]) -> None:
        self.data, self.known = data, tuple(known)
        super().__init__(f"No variant was evaluated on {data!r}. There are evaluations on: {', '.join(known)}.")
