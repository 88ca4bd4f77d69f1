"""A spoken sentence that comes with Wren: for the first request to try and for the self-test of `wren doctor`."""

from pathlib import Path

SAMPLE = Path(__file__).with_name("sample.wav")
SAMPLE_TEXT = "The quick brown fox jumps over the lazy dog."


def sample_path() -> Path:
    """The sample as seen from the working directory, if it lies below it."""
    here = Path.cwd()
    return SAMPLE.relative_to(here) if SAMPLE.is_relative_to(here) else SAMPLE
