"""Where the spoken sentence that comes with Wren is, as a command line says it."""

from pathlib import Path

from service.audio.sample import SAMPLE


def sample_path() -> Path:
    """The sample as seen from the working directory, if it lies below it."""
    here = Path.cwd()
    return SAMPLE.relative_to(here) if SAMPLE.is_relative_to(here) else SAMPLE
