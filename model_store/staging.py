"""Changes to a store that happen whole or not at all: a locked folder to build in, then renames.

One process at a time changes a model. It builds in STORE/.staging/MODEL, on the store's own file system, flushes, and
renames. Whatever a dead process left there is undone by the next change: the lock tells dead from busy, no process ids.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from model_store.errors import writing
from model_store.exchange import exchange

STAGING = ".staging"
LOCKS = ".locks"
REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Staging:
    """The right to change `model`, and a folder to prepare the change in."""

    store: Path
    model: str

    @property
    def folder(self) -> Path:
        return self.store / STAGING / self.model

    def make(self, name: str) -> Path:
        """A new folder in the staging folder."""
        made = self.folder / name
        with writing(made):
            made.mkdir()
        return made

    def publish(self, built: Path) -> None:
        """Puts every folder of `built` into the store as a variant, in place of one of that name.

        What is there besides is linked into `built` first, and then the model's folder is swapped as a whole: after a
        crash there is the old one or the new one, never a mixture.
        """
        home = self.store / self.model
        with writing(home):
            if home.exists():
                self._keep_others(home, built)
            flush_tree(built)
            self._swap(home, built)
            flush(self.store)

    def _swap(self, home: Path, built: Path) -> None:
        if home.exists():
            if exchange(home, built):
                return
            home.rename(self.folder / REPLACED)  # who reads now finds nothing for a moment
        built.rename(home)

    def _keep_others(self, home: Path, built: Path) -> None:
        for entry in home.iterdir():
            if entry.is_dir() and not (built / entry.name).exists():
                shutil.copytree(entry, built / entry.name, copy_function=link)

    def rewrite(self, target: Path, text: str) -> None:
        """Gives a file of the store, which others may be reading, another content."""
        part = self.folder / target.name
        with writing(target):
            part.write_text(text, encoding="utf-8")
            flush(part)
            part.replace(target)
            flush(target.parent)

    def withdraw(self, variants: Sequence[str]) -> None:
        """Takes variants out of the store, and the model's folder with the last."""
        home = self.store / self.model
        with writing(home):
            doomed = self.make("removed")
            for variant in variants:
                (home / variant).rename(doomed / variant)
            flush(home)
            if not any(home.iterdir()):
                home.rmdir()


@contextmanager
def staging(store: Path, model: str, *, waiting: Callable[[], None]) -> Iterator[Staging]:
    """The lock of `model` and an empty staging folder; `waiting` is called once if another process holds the lock."""
    stage = Staging(store, model)
    with writing(store):
        (store / STAGING).mkdir(parents=True, exist_ok=True)
        (store / LOCKS).mkdir(exist_ok=True)
        undo_left_overs(store)
        lock = _lock(store, model)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
    try:
        with writing(stage.folder):
            undo(stage)
            stage.folder.mkdir()
        try:
            yield stage
        finally:
            undo(stage)
    finally:
        lock.release()


def undo_left_overs(store: Path) -> None:
    """Undoes what dead processes left, of every model."""
    for folder in list((store / STAGING).iterdir()):
        try:
            with _lock(store, folder.name).acquire(timeout=0):
                undo(Staging(store, folder.name))
        except Timeout:
            continue


def undo(stage: Staging) -> None:
    """Empties the staging of a model; the caller holds its lock. A model that had stepped aside for nothing returns."""
    aside, home = stage.folder / REPLACED, stage.store / stage.model
    if aside.exists() and not home.exists():
        aside.rename(home)
    # A pip that outlived its parent may still write there: what it adds meanwhile goes with the next change.
    shutil.rmtree(stage.folder, ignore_errors=True)


def _lock(store: Path, model: str) -> FileLock:
    # The lock files stay: removing one would let two processes lock two files of the same name.
    return FileLock(store / LOCKS / f"{model}.lock")


def flush_tree(folder: Path) -> None:
    """Files first, folders after the files in them."""
    for path in sorted(folder.rglob("*"), reverse=True):
        flush(path)
    flush(folder)


def flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link(source: str, target: str) -> None:
    """The same file once more; a copy where the file system knows no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
