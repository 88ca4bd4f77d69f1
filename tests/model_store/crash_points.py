"""Kills a change of the store at each of its file system events in turn; prints the store that was found after each.

Run as a program: crash_points.py FOLDER CHANGE. Each runs in a fork, which is killed (SIGKILL) from an audit hook.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tiny_models import add, catalog_of, copied, evaluation, folder

from model_store import archive
from model_store.pull import pull
from model_store.registry import Registry

EVENTS = frozenset({"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree"})


def state(store: Path) -> list[tuple[str, int, int, list[int], int]]:
    """Of each variant: name, bytes, version, earlier versions, evaluations."""
    registry = Registry(store)
    return [
        (
            one.name,
            one.total_bytes,
            one.version,
            [build.version for build in registry.earlier(one)],
            len(one.evaluations),
        )
        for one in registry.list()
    ]


def pulled(store: Path, work: Path) -> None:
    pull("tiny", Registry(store), catalog_of(folder(work / "given")), convert=copied, force=True)


def rolled_back(store: Path, _: Path) -> None:
    Registry(store).rollback("tiny", "fp32")


def recorded(store: Path, _: Path) -> None:
    registry = Registry(store)
    registry.record("tiny", "fp32", evaluation(), digests=registry.get("tiny", "fp32").digests)


def imported(store: Path, work: Path) -> None:
    archive.load(Registry(store), work / "tiny.tar")


def removed(store: Path, _: Path) -> None:
    Registry(store).remove("tiny", "fp32")


CHANGES = {change.__name__: change for change in (pulled, rolled_back, recorded, imported, removed)}


def killed(change: Callable[[Path, Path], None], store: Path, work: Path, point: int) -> bool:
    """Whether the change in a fork was killed at the event `point`, rather than done before."""
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
        change(store, work)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the change failed by itself"
    return os.WIFSIGNALED(status)


def main(work: Path, change: str) -> None:
    given, before = work / "given", work / "before"
    given.mkdir()
    for content in (b"1", b"old"):
        (given / "model.bin").write_bytes(content)
        pulled(before, work)
    add(Registry(before), work, variant="int4")
    add(Registry(work / "elsewhere"), work, data=b"from elsewhere")
    archive.export(Registry(work / "elsewhere"), "tiny", None, work / "tiny.tar")
    (given / "model.bin").write_bytes(b"newer")
    point, more = 0, True
    while more:
        store = work / f"store-{point}"
        shutil.copytree(before, store)
        more = killed(CHANGES[change], store, work, point)
        problems = Registry(store).verify()
        with Registry(store).stage("another"):
            recovered = state(store)  # the next change of any model undoes what was left
        left = list((store / ".staging").iterdir())
        print(recovered, len(problems) + len(Registry(store).verify()), len(left))
        shutil.rmtree(store)
        point += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
