"""The builds of a variant, one after another: VARIANT/ is the present one, VARIANT/.versions/N/ are the earlier ones.

They lie inside of the variant's folder, so that each change of it takes them along in the same rename. A build that is
damaged is not kept: nobody could go back to it.
"""

import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from model_store.errors import NoSuchVersion
from model_store.inspection import Problem, differences, read
from model_store.manifest import Manifest
from model_store.staging import link

FOLDER = ".versions"

COUNT = "count"
"""A file beside the earlier builds with the highest version there was: that of a dropped build is not used again."""

KEPT = 2
"""Earlier builds that are kept."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build of a variant, and where it lies."""

    manifest: Manifest
    folder: Path

    def differences(self) -> tuple[Problem, ...]:
        """The files that are changed or missing."""
        return differences(self.manifest, self.folder, hashed=True)


def earlier(current: Path) -> tuple[Build | Problem, ...]:
    """The builds before the one in `current`, the oldest first; of damaged ones, what is wrong with the manifest."""
    found: list[Build | Problem] = []
    for version, folder in _folders(current).items():
        manifest = read(folder, current.parent.name, current.name)
        if isinstance(manifest, Manifest) and manifest.version != version:
            reason = f"it describes version {manifest.version}"
            found.append(Problem(manifest.model, manifest.variant, folder, reason))
        elif manifest is not None:
            found.append(manifest if isinstance(manifest, Problem) else Build(manifest, folder))
    return tuple(found)


def choose(current: Path, version: int | None) -> Build:
    """The earlier build `version` of the variant in `current`; if it is None, the one to go back to.

    Raises:
        NoSuchVersion: it was not kept.
    """
    present, builds = _builds(current)
    number = present.version if present else 1 + _highest(current, builds)
    others = {build.manifest.version: build for build in builds if build.folder != current}
    chosen = previous(number, others) if version is None else version
    if chosen not in others:
        raise NoSuchVersion(f"{current.parent.name}:{current.name}", version, tuple(others))
    return others[chosen]


def kept(versions: Collection[int], replaced: int) -> tuple[int, ...]:
    """The builds to keep beside a new one: the one it replaces, if it is among `versions`, and the newest others."""
    wanted = sorted(versions, key=lambda version: (version == replaced, version), reverse=True)
    return tuple(sorted(wanted[:KEPT]))


def previous(present: int, versions: Collection[int]) -> int | None:
    """The build to go back to unless another is asked for: the newest of the older ones."""
    return max((version for version in versions if version < present), default=None)


def succeed(manifest: Manifest, built: Path, current: Path) -> Manifest:
    """Prepares the build in `built` to take the place of the variant in `current`; links the builds to keep into it.

    Returns:
        The manifest, which is not written yet, with its version and all that is known of such files. The very same
        files as those in `current` are the same version.
    """
    present, builds = _builds(current)
    highest = _highest(current, builds)
    known = (one for build in builds if build.manifest.digest == manifest.digest for one in build.manifest.evaluations)
    evaluations = sorted((*known, *manifest.evaluations), key=lambda evaluation: evaluation.date)
    told = manifest.model_copy(update={"evaluations": ()}).evaluated(evaluations)
    sound = {build.manifest.version: build for build in builds if not build.differences()}
    if present is not None and present.digest == manifest.digest:
        sound.pop(present.version, None)
        _keep(list(sound.values()), built, highest)
        return told.model_copy(update={"version": present.version, "created": present.created})
    staying = kept(sound, replaced=present.version if present else highest)
    _keep([sound[version] for version in staying], built, highest + 1)
    return told.model_copy(update={"version": highest + 1})


def restore(build: Build, built: Path, current: Path) -> None:
    """Prepares in `built` what takes the place of the variant in `current`: an earlier build of it, as it was."""
    _, builds = _builds(current)
    _link(build.folder, built)
    others = [other for other in builds if other.folder != build.folder and not other.differences()]
    _keep(others, built, _highest(current, builds))


def _keep(builds: Collection[Build], built: Path, highest: int) -> None:
    home = built / FOLDER
    shutil.rmtree(home, ignore_errors=True)  # copied along from another variant, it would not be of this one
    if highest > 1:
        home.mkdir()
        (home / COUNT).write_text(f"{highest}\n", encoding="ascii")
    for build in builds:
        _link(build.folder, home / str(build.manifest.version))


def _link(source: Path, target: Path) -> None:
    """A build's files once more, at no cost of space; not the builds before it."""
    shutil.copytree(source, target, copy_function=link, ignore=shutil.ignore_patterns(FOLDER))


def _builds(current: Path) -> tuple[Manifest | None, list[Build]]:
    """The manifest of the present build, if it can be read, and all builds whose manifest can be."""
    builds = [build for build in earlier(current) if isinstance(build, Build)]
    present = read(current, current.parent.name, current.name)
    if not isinstance(present, Manifest):
        return None, builds
    return present, [*builds, Build(present, current)]


def _folders(current: Path) -> dict[int, Path]:
    home = current / FOLDER
    names = [entry.name for entry in home.iterdir()] if home.is_dir() else []
    return {int(name): home / name for name in sorted(names, key=_number) if _number(name)}


def _number(name: str) -> int:
    return int(name) if re.fullmatch("[1-9][0-9]{0,8}", name) else 0


def _highest(current: Path, builds: Collection[Build]) -> int:
    """The highest version there was; 0 if there was none."""
    try:
        counted = _number((current / FOLDER / COUNT).read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        counted = 1 if current.is_dir() else 0  # a first build is not counted
    return max([counted, *_folders(current), *(build.manifest.version for build in builds)])
