"""Kills a forced pull at each of its file system events in turn; prints what the store was found like after each.

Run as a program: crash_points.py FOLDER. Each pull runs in a fork, which is killed (SIGKILL) from an audit hook.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from tiny_models import add, catalog_of, copied, folder

from model_store.pull import pull
from model_store.registry import Registry

EVENTS = frozenset({"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree"})


def state(store: Path) -> list[tuple[str, int]]:
    return [(manifest.name, manifest.total_bytes) for manifest in Registry(store).list()]


def killed(store: Path, given: Path, point: int) -> bool:
    """Whether the pull in a fork was killed at the event `point`, rather than done before."""
    child = os.fork()
    if child == 0:
        left = point

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in EVENTS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        pull("tiny", Registry(store), catalog_of(folder(given)), convert=copied, force=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the pull failed by itself"
    return os.WIFSIGNALED(status)


def main(work: Path) -> None:
    given, before = work / "given", work / "before"
    given.mkdir()
    (given / "model.bin").write_bytes(b"old")
    pull("tiny", Registry(before), catalog_of(folder(given)), convert=copied)
    add(Registry(before), work, variant="int4")
    (given / "model.bin").write_bytes(b"newer")
    point, more = 0, True
    while more:
        store = work / f"store-{point}"
        shutil.copytree(before, store)
        more = killed(store, given, point)
        problems = Registry(store).verify()
        with Registry(store).stage("another"):
            recovered = state(store)  # the next change of any model undoes what was left
        left = list((store / ".staging").iterdir())
        print(recovered, len(problems) + len(Registry(store).verify()), len(left))
        shutil.rmtree(store)
        point += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
