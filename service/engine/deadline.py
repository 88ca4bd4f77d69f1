"""Work and the time it has in; its outcome out, or that time is up."""

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

from service.errors import DeadlineExceeded

T = TypeVar("T")


async def in_time(work: Awaitable[T], *, left_s: float, budget_s: float, asked: bool) -> T:
    """The outcome of the work, which is cancelled after `left_s` of its budget; infinite is no limit.

    Raises:
        DeadlineExceeded: time is up; `asked` says whether the client set the budget.
    """
    limit = asyncio.timeout(left_s if math.isfinite(left_s) else None)
    try:
        async with limit:
            return await work
    except TimeoutError as error:
        if not limit.expired():  # a file system's, say
            raise
        raise DeadlineExceeded(budget_s=budget_s, asked=asked) from error
