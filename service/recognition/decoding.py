"""Jobs of one recogniser in, their hypotheses out."""

from collections.abc import Sequence

from service.backends.base import Backend
from service.backends.sequences import Hypothesis, Job
from service.recognition.families.base import Family


def decode(backend: Backend, family: Family, jobs: Sequence[Job]) -> list[Hypothesis]:
    """Decode all jobs together; the hypotheses come in the order of the jobs.

    Raises:
        Exception: what the backend raised on one of them.
    """
    if not jobs:
        return []
    length = max(job.memory.length for job in jobs)
    batch = backend.sequences(family, capacity=len(jobs), length=length)
    ended = batch.join(jobs)
    while len(batch):
        ended += batch.step()
    found: dict[int, Hypothesis] = {}
    for one in ended:
        if isinstance(one.result, Exception):
            raise one.result
        found[id(one.job)] = one.result
    return [found[id(job)] for job in jobs]
