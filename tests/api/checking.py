"""Checks of an SDK, named and run by the Python that has it: what went wrong in each, as JSON, comes out.

Of the project only this is imported by the scripts of checks, and it needs nothing but the standard library.
"""

import asyncio
import inspect
import json
import traceback
from collections.abc import Awaitable, Callable

Check = Callable[[], Awaitable[None] | None]

CHECKS: dict[str, Check] = {}
"""Of the script that is running, by name."""

LIMIT_S = 60.0
"""For one asynchronous check."""


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def run() -> None:
    """Those that are asynchronous at the same time, then the others one by one."""
    found = asyncio.run(_together({name: one for name, one in CHECKS.items() if inspect.iscoroutinefunction(one)}))
    alone = {name: _outcome(one) for name, one in CHECKS.items() if name not in found}
    print(json.dumps({**found, **alone}))


async def _together(checks: dict[str, Check]) -> dict[str, str | None]:
    outcomes = await asyncio.gather(*map(_awaited_outcome, checks.values()))
    return dict(zip(checks, outcomes, strict=True))


async def _awaited_outcome(function: Check) -> str | None:
    try:
        async with asyncio.timeout(LIMIT_S):
            result = function()
            assert result is not None
            await result
    except Exception:
        return traceback.format_exc()
    return None


def _outcome(function: Check) -> str | None:
    try:
        function()
    except Exception:
        return traceback.format_exc()
    return None
