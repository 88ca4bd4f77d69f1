"""Whether there is torch, which training needs and the server does not."""

from importlib.util import find_spec

from model_store.errors import CompressionError


def needed(step: str) -> None:
    """Nothing, where torch is installed.

    Raises:
        CompressionError: it is not.
    """
    if find_spec("torch") is None:
        raise CompressionError(step, 'training needs torch: pip install "wren-asr[torch]"')
