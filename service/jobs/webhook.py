"""The end of a job told to the address that its client gave: signed, and again until somebody has taken it.

The signature is that of Standard Webhooks (github.com/standard-webhooks/standard-webhooks), for which every language
has a library. What is told is what `GET /v1/jobs/ID` answers; the text is fetched from there.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Callable

import httpx

from service.errors import JobsUnavailable
from service.jobs.store import JobStore
from service.jobs.types import Job, JobObserver
from service.outbound import DestinationRefused, checked_client

TIMEOUT_S = 15.0
"""For an answer; its body is not read."""

LEASE_S = 60.0

PAUSES_S = (5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
"""Between one try and the next; behind the last it is given up."""

AT_ONCE = 4
"""So that one that is slow does not keep the others."""

LOOK_S = 1.0

GONE = 410
"""How a receiver says that it wants no more."""

_log = logging.getLogger(__name__)


def signature(secret: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Of a message, as the header `webhook-signature` has it."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


class Webhooks:
    """Tells the ends of jobs for as long as `run` is awaited."""

    def __init__(
        self,
        store: JobStore,
        *,
        secret: bytes,
        hosts: frozenset[str],
        body: Callable[[Job], bytes],
        observer: JobObserver,
    ) -> None:
        """Make one.

        Args:
            store: where jobs are.
            secret: that signs.
            hosts: the only ones that are told, private ones too; empty for every public one.
            body: what is told of a job.
            observer: told how it went.
        """
        self._store, self._secret, self._hosts = store, secret, hosts
        self._body, self._observer = body, observer

    async def run(self) -> None:
        """Until it is cancelled."""
        async with (
            checked_client(httpx.Timeout(TIMEOUT_S), self._hosts) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(AT_ONCE):
                group.create_task(self._work(client))

    async def _work(self, client: httpx.AsyncClient) -> None:
        while True:
            try:
                job = await self._store.due_hook(now_s=time.time(), lease_s=LEASE_S)
                if job is not None:
                    await self._tell(client, job)
                    continue
            except JobsUnavailable as error:
                _log.debug("%s", error)  # the runner warns of it
            await asyncio.sleep(LOOK_S)

    async def _tell(self, client: httpx.AsyncClient, job: Job) -> None:
        outcome = await self._told(client, job)
        if outcome is None:
            self._observer.webhook_tried("delivered")
            await self._store.settle_hook(job.id, "delivered")
            return
        over = outcome == str(GONE) or job.hook_attempts > len(PAUSES_S)
        self._observer.webhook_tried("given_up" if over else "refused")
        _log.warning(
            "the webhook of job %s was not taken, at try %d%s: %s",
            job.id,
            job.hook_attempts,
            ", and is given up" if over else "",
            outcome,
        )
        if over:
            await self._store.settle_hook(job.id, "given_up")
        else:
            due_s = time.time() + PAUSES_S[job.hook_attempts - 1]
            await self._store.settle_hook(job.id, "waiting", due_s=due_s)

    async def _told(self, client: httpx.AsyncClient, job: Job) -> str | None:
        """None if it was taken, else why not."""
        body, timestamp, message_id = self._body(job), int(time.time()), f"msg_{job.id}"
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secret, message_id=message_id, timestamp=timestamp, body=body),
        }
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                client.stream("POST", job.webhook_url or "", content=body, headers=headers) as answer,
            ):
                return None if answer.is_success else str(answer.status_code)
        except (httpx.HTTPError, httpx.InvalidURL, DestinationRefused, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
