"""How much a client may ask for: its limits and what it has used lately in, whether it may ask for more out.

A limit by the minute is a bucket that leaks: a minute's worth may be used at once, then as much as has leaked. How long
a recording is shows when it was heard, so its seconds are charged afterwards and may be more than the bucket holds:
what is over has to leak before anything else is let in. Pure, but for `Quotas`, which knows the clients and has the
clock.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from service.errors import WrenError

Limit = Literal["requests", "audio", "concurrency"]

N = TypeVar("N", int, float)

MINUTE_S = 60.0

TOLERANCE = 1e-6
"""Of requests and seconds: what has leaked is a sum of floats."""

MOMENT_S = 1.0
"""When to come back if nobody knows when a request ends."""

MOST_CLIENTS = 10_000
"""Of whom is remembered what they used; an address may be anyone's."""

LOOKS = 2
"""Clients that are looked at with each request, lest they are kept for ever: more than can be added by it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one client; None is no limit."""

    requests_per_minute: int | None = None
    audio_seconds_per_minute: float | None = None
    concurrency: int | None = None

    def over(self, general: "Limits") -> "Limits":
        """These, and where there is none the general one."""
        return Limits(
            _first(self.requests_per_minute, general.requests_per_minute),
            _first(self.audio_seconds_per_minute, general.audio_seconds_per_minute),
            _first(self.concurrency, general.concurrency),
        )


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a client has used as of a moment: the requests and seconds of audio that have not leaked, and what runs."""

    at_s: float
    requests: float = 0.0
    audio_s: float = 0.0
    running: int = 0

    @property
    def nothing(self) -> bool:
        return not (self.requests or self.audio_s or self.running)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing more is let in, and seconds until that may be otherwise."""

    limit: Limit
    reason: str
    retry_after_s: float


class RateLimited(WrenError, RuntimeError):
    """The client has used what it may."""

    def __init__(self, refusal: Refusal) -> None:
        self.limit, self.retry_after_s = refusal.limit, max(1, math.ceil(refusal.retry_after_s))
        super().__init__(f"Rate limit reached: {refusal.reason}. Try again in {self.retry_after_s} s.")


def leaked(usage: Usage, limits: Limits, now_s: float) -> Usage:
    """The same, later; what has no limit is not counted."""
    passed_s = max(0.0, now_s - usage.at_s)
    return replace(
        usage,
        at_s=now_s,
        requests=_left(usage.requests, limits.requests_per_minute, passed_s),
        audio_s=_left(usage.audio_s, limits.audio_seconds_per_minute, passed_s),
    )


def weigh(usage: Usage, limits: Limits) -> Refusal | None:
    """Why one more request or stream is too much, if it is."""
    if limits.concurrency is not None and usage.running >= limits.concurrency:
        return Refusal("concurrency", f"requests and streams are limited to {limits.concurrency} at once", MOMENT_S)
    wait_s = _wait_s(usage.requests, limits.requests_per_minute)
    if wait_s:
        return Refusal("requests", f"requests are limited to {limits.requests_per_minute} a minute", wait_s)
    return weigh_audio(usage, limits)


def weigh_audio(usage: Usage, limits: Limits) -> Refusal | None:
    """Why no more audio may be sent, also on a stream that is open."""
    wait_s = _wait_s(usage.audio_s, limits.audio_seconds_per_minute)
    if not wait_s:
        return None
    return Refusal("audio", f"audio is limited to {limits.audio_seconds_per_minute:g} s a minute", wait_s)


def headers(usage: Usage, limits: Limits) -> Mapping[str, str]:
    """As OpenAI has them: what a minute has, what of it is left, and when all of it will be."""
    named: dict[str, str] = {}
    for name, level, most in (
        ("requests", usage.requests, limits.requests_per_minute),
        ("audio-seconds", usage.audio_s, limits.audio_seconds_per_minute),
    ):
        if most is not None:
            named[f"x-ratelimit-limit-{name}"] = f"{most:g}"
            named[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(most - level + TOLERANCE)))
            named[f"x-ratelimit-reset-{name}"] = _told(level * MINUTE_S / most)
    return named


class _Account:
    """Of one client."""

    __slots__ = ("limits", "usage")

    def __init__(self, now_s: float) -> None:
        self.limits, self.usage = UNLIMITED, Usage(now_s)


class Allowance:
    """What one request or stream has of its client's quota, from `admit` to `release`."""

    def __init__(
        self,
        account: _Account,
        limits: Limits,
        *,
        clock: Callable[[], float],
        on_refused: Callable[[Limit], None],
    ) -> None:
        self._account, self._limits, self._clock, self._on_refused = account, limits, clock, on_refused
        self._running = False
        self._charged_s = 0.0

    def admit(self) -> None:
        """Count it.

        Raises:
            RateLimited: it is one too many; then it is not counted.
        """
        usage = self._usage()
        self._refuse(weigh(usage, self._limits))
        self._account.usage = replace(usage, requests=usage.requests + 1, running=usage.running + 1)
        self._running = True

    def reach(self, audio_s: float) -> None:
        """Charge what was heard so far, less what was charged before."""
        usage, more_s = self._usage(), max(0.0, audio_s - self._charged_s)
        self._account.usage = replace(usage, audio_s=usage.audio_s + more_s)
        self._charged_s += more_s

    def check_audio(self) -> None:
        """For a stream that goes on.

        Raises:
            RateLimited: the client has no seconds left.
        """
        self._refuse(weigh_audio(self._usage(), self._limits))

    def release(self) -> None:
        """It does not run any more; a second call does nothing."""
        if self._running:
            self._running = False
            self._account.usage = replace(self._account.usage, running=self._account.usage.running - 1)

    def headers(self) -> Mapping[str, str]:
        return headers(self._usage(), self._limits)

    def _usage(self) -> Usage:
        return leaked(self._account.usage, self._limits, self._clock())

    def _refuse(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            self._on_refused(refusal.limit)
            raise RateLimited(refusal)


class Quotas:
    """What each client has used. For one thread."""

    def __init__(
        self,
        general: Limits,
        *,
        on_refused: Callable[[Limit], None],
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_CLIENTS,
    ) -> None:
        self._general, self._on_refused, self._clock, self._most = general, on_refused, clock, most
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def __len__(self) -> int:
        """Clients that are remembered."""
        return len(self._accounts)

    def allowance(self, client: str, own: Limits) -> Allowance:
        """For a request of this client, whose own limits go before the general ones."""
        limits = own.over(self._general)
        account = _Account(self._clock()) if limits == UNLIMITED else self._account(client)
        account.limits = limits
        return Allowance(account, limits, clock=self._clock, on_refused=self._on_refused)

    def _account(self, client: str) -> _Account:
        for _ in range(min(LOOKS, len(self._accounts))):
            self._look_at_oldest()
        if client not in self._accounts:
            self._make_room()
            self._accounts[client] = _Account(self._clock())
        return self._accounts[client]

    def _look_at_oldest(self) -> None:
        """Forget it if it has used nothing; else it is the last to be looked at again."""
        client, account = self._accounts.popitem(last=False)
        if not leaked(account.usage, account.limits, self._clock()).nothing:
            self._accounts[client] = account

    def _make_room(self) -> None:
        """Forget who has used something where there are too many, but never who runs something, of whom few can be."""
        for _ in range(len(self._accounts)):
            if len(self._accounts) < self._most:
                return
            client, account = self._accounts.popitem(last=False)
            if account.usage.running:
                self._accounts[client] = account


def _first(own: N | None, general: N | None) -> N | None:
    return general if own is None else own


def _left(level: float, per_minute: float | None, passed_s: float) -> float:
    return 0.0 if per_minute is None else max(0.0, level - per_minute * passed_s / MINUTE_S)


def _wait_s(level: float, per_minute: float | None) -> float:
    """Until there is room for one more request, or for a second of audio; 0 if there is."""
    over = 0.0 if per_minute is None else level + 1 - per_minute
    return over * MINUTE_S / per_minute if per_minute is not None and over > TOLERANCE else 0.0


def _told(wait_s: float) -> str:
    """As in `6m0s`."""
    minutes, seconds = divmod(math.ceil(wait_s - TOLERANCE), round(MINUTE_S))
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
