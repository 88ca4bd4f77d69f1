"""Variants loaded, used and let go by turns, in a process of their own: `python -m tests.engine.unloading STORE`.

Prints how much memory the process had after each.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_store.registry import Registry
from service.engine.device import read_device
from service.engine.heap import few_arenas, give_back
from service.engine.loading import Loader
from service.engine.observing import Unobserved
from service.engine.profile import Hosted
from service.engine.resident import read_resident
from service.engine.scheduler import Scheduler
from service.engine.work import Ticket
from service.recognition.recognizer import Heed
from service.recognition.types import Language, Options
from tests.audio.speech import recording
from tests.engine.recordings import TINY
from tests.recognition.models import window

CYCLES = 12
HEED = Heed((Language("en", 1.0),))


async def main(store: Path) -> None:
    registry = Registry(store)
    loader = Loader(registry, read_device(), threads=2, executors=2)
    loader.settle(registry.get(TINY, "int8")).recognizer.backend.close()
    with ThreadPoolExecutor(2) as pool:
        scheduler = Scheduler(pool.submit, Unobserved(), renew=never, stuck_s=60)
        scheduler.start(2)
        for cycle in range(CYCLES):
            hosted = await asyncio.to_thread(loader.load, registry.get(TINY, ("int8", "fp32")[cycle % 2]))
            await asyncio.gather(*(say(scheduler, hosted) for _ in range(4)))
            await scheduler.forget(hosted)
            await asyncio.to_thread(hosted.recognizer.backend.close)
            await asyncio.to_thread(give_back)
            print(read_resident().now_bytes, flush=True)
        await scheduler.close()


async def say(scheduler: Scheduler, hosted: Hosted) -> None:
    heard = window(recording("en/quick_brown_fox"))
    ticket = Ticket("one", "interactive", 0.0)
    await scheduler.compute(hosted, lambda one: one.transcribe(heard, Options(), HEED), ticket=ticket, cost_s=3.0)


async def never(lost: Hosted) -> Hosted:
    raise AssertionError(f"{lost.manifest.name} was lost")


if __name__ == "__main__":
    few_arenas()
    asyncio.run(main(Path(sys.argv[1])))
