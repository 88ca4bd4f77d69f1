"""Everything that can go wrong with an evaluation, as a branch of the store's tree. Messages are fit for a terminal.

EvaluationError (StoreError)
├── DataError (ValueError)          recordings, references or hypotheses cannot be read
├── NotComparable (ValueError)      two evaluations are not of the same recordings
└── VariantFailed (RuntimeError)    the variant cannot be loaded, fails on a recording, or its process ended
"""

from pathlib import Path

from model_store.errors import StoreError


class EvaluationError(StoreError):
    """The root of this branch."""


class DataError(EvaluationError, ValueError):
    """Recordings, references or hypotheses cannot be read; `reason` says what to do as well."""

    def __init__(self, file: Path, reason: str, *, line: int | None = None) -> None:
        self.file, self.reason, self.line = file, reason, line
        super().__init__(f"{file}{'' if line is None else f', line {line}'}: {reason}.")


class NotComparable(EvaluationError, ValueError):
    """Two evaluations are not of the same recordings."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"Only one of the two heard {name}. Evaluate both on the same recordings.")


class VariantFailed(EvaluationError, RuntimeError):
    """The variant cannot be loaded, fails on a recording, or its process ended."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"{name} cannot be evaluated: {reason}.")
