"""Jobs to keep, and what was recognised of them."""

import asyncio
from collections.abc import Callable

from service.audio.types import RawFormat, VadOptions
from service.jobs.types import Brief, Job, NewJob
from service.recognition.types import Language, Options, Segment
from tests.api.speech import segment

ENGLISH = (Language("en", 0.9), Language("de", 0.1))
BRIEF = Brief(
    "auto", Options(language="en", hotwords=("Wren",)), VadOptions(threshold=0.4), RawFormat("mulaw", 8000, 1)
)
FIRST: tuple[Segment, ...] = (segment("The quick brown fox.", 0.0, 2.0),)
SECOND: tuple[Segment, ...] = (segment("Café – 3 €.", 2.0, 4.0), segment("Over the lazy dog.", 4.0, 6.0))


def new_job(name: str = "one", *, client: str = "a", key: str | None = None, url: str | None = None) -> NewJob:
    return NewJob(f"job_{name}", client, BRIEF, "json", digest=f"of {name}", size_bytes=9, key=key, webhook_url=url)


def present(job: Job | None) -> Job:
    assert job is not None
    return job


async def until(condition: Callable[[], object]) -> None:
    """Poll until it holds.

    Raises:
        TimeoutError: it never did.
    """
    async with asyncio.timeout(10.0):
        while not condition():  # noqa: ASYNC110 - of what the code under test has no event for
            await asyncio.sleep(0.01)
