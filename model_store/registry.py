"""The registry: the store's variants, read and changed. STORE/MODEL/VARIANT/ holds manifest.json and what it lists.

Reading takes no lock and writes nothing, so a store may be mounted read-only. What is damaged is told of, not raised:
one bad manifest must not hide the good ones.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from model_store import evaluated, versions
from model_store.errors import BrokenVariant, NotInStore, Outdated, writing
from model_store.inspection import Problem, differences, read
from model_store.manifest import FILE_NAME, PLAIN_NAME, Evaluation, File, Manifest
from model_store.staging import Staging, staging


@dataclass(frozen=True, slots=True)
class Listing:
    """What the store holds: variants that can be used, and what is wrong with the others."""

    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...]


class Registry:
    """The store at `root`, which need not exist yet; `shipped` tells what is known of builds that many stores hold."""

    def __init__(self, root: Path, *, shipped: Path = evaluated.SHIPPED) -> None:
        self.root = root.expanduser().absolute()
        self._shipped = shipped

    def list(self) -> tuple[Manifest, ...]:
        """The variants that can be used, sorted by name."""
        return self.scan().manifests

    def scan(self) -> Listing:
        """All that is in the store, damaged or not."""
        manifests: list[Manifest] = []
        problems: list[Problem] = []
        for folder in self._folders():
            found = read(folder, folder.parent.name, folder.name)
            if isinstance(found, Manifest):
                manifests.append(found)
            elif found is not None:
                problems.append(found)
        return Listing(tuple(manifests), tuple(problems))

    def get(self, model: str, variant: str) -> Manifest:
        """The manifest of one variant.

        Raises:
            NotInStore: it is not there.
            BrokenVariant: its manifest cannot be used.
        """
        folder = self.root / model / variant
        safe = re.match(PLAIN_NAME, model) and re.match(PLAIN_NAME, variant)
        found = read(folder, model, variant) if safe and folder.is_dir() else None
        if isinstance(found, Problem):
            raise BrokenVariant(f"{model}:{variant}", file=found.file, reason=found.reason)
        if found is None:
            raise NotInStore(f"{model}:{variant}", self._names())
        return found

    def variants(self, model: str) -> tuple[Manifest, ...]:
        """The variants of a model that can be used; none if the store has no such model."""
        return tuple(manifest for manifest in self.list() if manifest.model == model)

    def present(self, model: str, variant: str | None = None) -> tuple[str, ...]:
        """The names of the model's variants, damaged ones too; of one variant, its name.

        Raises:
            NotInStore: nothing of that name is in the store.
        """
        present = tuple(
            folder.name for folder in self._folders() if folder.parent.name == model and variant in (None, folder.name)
        )
        if not present:
            raise NotInStore(f"{model}:{variant}" if variant else model, self._names())
        return present

    def path(self, manifest: Manifest) -> Path:
        """The folder that holds the variant's files."""
        return self.root / manifest.model / manifest.variant

    def checked(self, manifest: Manifest) -> Path:
        """The folder that holds the variant's files, each of them as the manifest there says.

        Raises:
            NotInStore: it is not there.
            BrokenVariant: a file is changed or missing.
        """
        # As it is now: the caller may have read of a build that was replaced meanwhile.
        present = self.get(manifest.model, manifest.variant)
        for problem in differences(present, self.path(present), hashed=True):
            raise BrokenVariant(present.name, file=problem.file, reason=problem.reason)
        return self.path(present)

    def earlier(self, manifest: Manifest) -> tuple[Manifest, ...]:
        """The builds of the variant that were kept when they were replaced, the oldest first."""
        found = versions.earlier(self.path(manifest))
        return tuple(build.manifest for build in found if isinstance(build, versions.Build))

    def complete(self, model: str) -> tuple[Manifest, ...]:
        """The model's variants, or none where a base variant or a file is missing, or has another length.

        Checksums are not computed: this is asked at every start.
        """
        listing = self.scan()
        manifests = tuple(manifest for manifest in listing.manifests if manifest.model == model)
        based = any(manifest.parent is None for manifest in manifests)
        broken = any(problem.model == model for problem in listing.problems)
        if (
            not based
            or broken
            or any(differences(manifest, self.path(manifest), hashed=False) for manifest in manifests)
        ):
            return ()
        return manifests

    def verify(self, model: str | None = None, variant: str | None = None) -> tuple[Problem, ...]:
        """Compares every file with its manifest: there, length, SHA-256. Of all models unless one is named.

        Earlier builds are looked at as well.

        Raises:
            NotInStore: nothing of that name is in the store.
        """
        listing = self.scan()
        manifests = [m for m in listing.manifests if model in (None, m.model) and variant in (None, m.variant)]
        broken = [p for p in listing.problems if model in (None, p.model) and variant in (None, p.variant)]
        if model is not None and not manifests and not broken:
            raise NotInStore(f"{model}:{variant}" if variant else model, self._names())
        for manifest in manifests:
            broken += differences(manifest, self.path(manifest), hashed=True)
            for build in versions.earlier(self.path(manifest)):
                broken += [build] if isinstance(build, Problem) else build.differences()
        return tuple(broken)

    def add(self, manifest: Manifest, folder: Path) -> Manifest:
        """Moves `folder` into the store as the variant that `manifest` describes, in place of one of that name.

        The files are listed and hashed here; those of `manifest` are not looked at. `folder` should lie on the store's
        file system, or it is copied.

        Raises:
            StoreUnwritable: the store is as it was.
        """
        with self.stage(manifest.model) as stage:
            built = stage.make("built")
            with writing(folder):
                shutil.move(folder, built / manifest.variant)
            (written,) = self.publish(stage, built, [describe(manifest, built / manifest.variant)])
        return written

    def publish(self, stage: Staging, built: Path, manifests: Sequence[Manifest]) -> tuple[Manifest, ...]:
        """Puts every folder of `built` into the store as a variant; the one of that name becomes an earlier build.

        Returns:
            The manifests as written: with the version in this store, and the evaluations that are known of such files.
        """
        known = evaluated.load(self._shipped)
        written = []
        with writing(built):
            for manifest in manifests:
                folder = built / manifest.variant
                numbered = versions.succeed(manifest, folder, self.path(manifest))
                written.append(numbered if numbered.evaluations else numbered.evaluated(known.of(numbered)))
                (folder / FILE_NAME).write_text(_text(written[-1]), encoding="utf-8")
        stage.publish(built)
        return tuple(written)

    def record(self, model: str, variant: str, evaluation: Evaluation, *, digests: Mapping[str, str]) -> Manifest:
        """Adds what was measured of a variant to its manifest.

        Args:
            model: what was evaluated.
            variant: as above.
            evaluation: takes the place of one of the same recordings, device and number of threads.
            digests: those of the manifest that was evaluated.

        Raises:
            NotInStore: it is not there any more.
            BrokenVariant: its manifest cannot be used, or a file is changed or missing.
            Outdated: its files are others by now.
        """
        self.get(model, variant)
        with self.stage(model) as stage:
            present = self.get(model, variant)
            changed = sorted(name for name, _ in present.digests.items() ^ digests.items())
            if changed:
                raise Outdated(present.name, tuple(dict.fromkeys(changed)))
            written = present.evaluated([evaluation])
            stage.rewrite(self.checked(present) / FILE_NAME, _text(written))
        return written

    def rollback(self, model: str, variant: str, version: int | None = None) -> Manifest:
        """Puts an earlier build back in place: `version`, or else the one before. The present one is kept in turn.

        Raises:
            NotInStore: there is no such variant.
            NoSuchVersion: no such build was kept.
            BrokenVariant: a file of that build is changed or missing.
        """
        self.present(model, variant)
        with self.stage(model) as stage:
            self.present(model, variant)
            current = self.root / model / variant
            build = versions.choose(current, version)
            for problem in build.differences():
                name, number = build.manifest.name, build.manifest.version
                raise BrokenVariant(name, file=problem.file, reason=problem.reason, version=number)
            built = stage.make("built")
            with writing(built):
                versions.restore(build, built / variant, current)
            stage.publish(built)
        return build.manifest

    def remove(self, model: str, variant: str | None = None) -> tuple[str, ...]:
        """Takes a variant, or all variants of a model, out of the store; returns their names. Damaged ones go as well.

        Raises:
            NotInStore: nothing of that name is in the store.
            StoreUnwritable: it cannot be removed.
        """
        doomed = self.present(model, variant)
        with self.stage(model) as stage:
            doomed = self.present(model, variant)
            stage.withdraw(doomed)
        return tuple(f"{model}:{name}" for name in doomed)

    def stage(self, model: str, *, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[Staging]:
        """The right to change `model`: waits until no other process does (`waiting` is called once before)."""
        return staging(self.root, model, waiting=waiting)

    def _folders(self) -> Iterator[Path]:
        """The folders of variants, hidden ones (staging, locks) left out."""
        for model in _subfolders(self.root):
            yield from _subfolders(model)

    def _names(self) -> tuple[str, ...]:
        return tuple(f"{folder.parent.name}:{folder.name}" for folder in self._folders())


def describe(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest of the files that lie in `folder`, as of now."""
    files = tuple(File.of(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != FILE_NAME)
    draft = manifest.model_copy(update={"files": files, "created": datetime.now(UTC)})
    # Through validation once more: model_copy does none, and a file's name comes from the disk.
    return Manifest.model_validate(draft.model_dump())


def _text(manifest: Manifest) -> str:
    return manifest.model_dump_json(indent=2) + "\n"


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []  # no store yet, or another process removed the model just now
    return [entry for entry in entries if re.match(PLAIN_NAME, entry.name) and entry.is_dir()]
