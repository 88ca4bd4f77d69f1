"""Pulling: the name of a model in, its variants in the store out.

fetch from the first source that works -> convert -> manifests -> publish, all in a staging folder, so that a failure at
any point leaves the store as it was. A second process that pulls the same waits, and then finds it done.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from model_store.catalog import Catalog, FileSource, HttpsSource, Kind, Model, Source, WebFile
from model_store.convert import Built, SourceFormat
from model_store.errors import ConversionError, PullFailed, SourceError, StoreError
from model_store.manifest import Family, File, Manifest
from model_store.registry import Registry, describe
from model_store.report import Progress, Report, silent
from model_store.sources import fetch
from model_store.sources.checked import Fetched
from model_store.staging import Staging

log = logging.getLogger(__name__)

Say = Callable[[str], None]

Convert = Callable[[SourceFormat, Path, Path, Say], tuple[Built, ...]]
"""Reads the files of the first folder and writes `second folder/VARIANT/` for each variant that it returns."""

FORMATS: dict[Family, tuple[tuple[str, SourceFormat], ...]] = {
    "whisper": (("model.bin", "whisper-ctranslate2"), ("model.safetensors", "whisper-huggingface")),
    "moonshine": (("encoder_model.ort", "moonshine-ort"), ("model.safetensors", "moonshine-huggingface")),
    "silero-vad": (("silero_vad_16k_sequence.onnx", "silero-onnx"),),
}
"""By which file a folder that a user hands over tells its format."""


def pull(
    name: str,
    registry: Registry,
    catalog: Catalog,
    *,
    report: Report = silent,
    kind: Kind | None = None,
    origin: str | None = None,
    force: bool = False,
    convert: Convert | None = None,
) -> tuple[Manifest, ...]:
    """Puts the model `name` into the store, unless it is there or `force` asks for it anew.

    Args:
        name: as the catalogue has it.
        registry: the store.
        catalog: where to look `name` up.
        report: is told how far it is.
        kind: only sources of this kind.
        origin: instead of the catalogue's sources: a folder or file of this machine, or the URL of a folder that
            mirrors the files which the catalogue pins.
        force: fetch and build even if it is there.
        convert: in place of `model_store.convert.convert`.

    Raises:
        UnknownModel: the catalogue does not name it.
        PullFailed: no source worked; says why for each.
        StoreUnwritable: the disk is full, say; says at which file.
    """
    model = catalog.get(name)
    sources = choose(model, kind=kind, origin=origin)
    if not force and (there := registry.complete(name)):
        return there
    waiting = Progress("note", f"another process is changing {name}: waiting for it")
    with registry.stage(name, waiting=lambda: report(waiting)) as stage:
        if not force and (there := registry.complete(name)):
            return there
        built, manifests = _first_that_works(name, model, sources, stage, report, convert or _convert)
        report(Progress("store", name))
        return registry.publish(stage, built, manifests)


def choose(model: Model, *, kind: Kind | None, origin: str | None) -> tuple[Source, ...]:
    """The sources to try, in order.

    Raises:
        SourceError: `origin` is of no use.
    """
    if origin is None:
        return tuple(source for source in model.sources if kind in (None, source.kind))
    if origin.startswith(("http://", "https://")):
        return (mirror(model, origin),)
    path = Path(origin.removeprefix("file:")).expanduser().absolute()
    return (FileSource(kind="file", format=recognise(model, path), path=path),)


def mirror(model: Model, url: str) -> HttpsSource:
    """The pinned files of the first source that pins them, looked for in the folder `url`.

    Raises:
        SourceError: the catalogue pins no files of this model.
    """
    for source in model.sources:
        pinned = [file for file in source.files if isinstance(file, File)]
        if pinned:
            files = tuple(
                WebFile(name=file.name, sha256=file.sha256, bytes=file.bytes, url=f"{url.rstrip('/')}/{file.name}")
                for file in pinned
            )
            return HttpsSource(kind="https", format=source.format, files=files)
    raise SourceError(f"{url}: the catalogue pins no files of this model, so nothing can be checked; use a folder")


def recognise(model: Model, path: Path) -> SourceFormat:
    """The format of a folder or file that a user hands over.

    Raises:
        SourceError: it holds nothing that a model of this family comes in.
    """
    present = {path.name} if path.is_file() else {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    for name, source_format in FORMATS[model.family]:
        if name in present:
            return source_format
    wanted = " or ".join(name for name, _ in FORMATS[model.family])
    raise SourceError(f"{path}: a {model.family} model comes with {wanted}, and it is not there")


def _first_that_works(
    name: str, model: Model, sources: tuple[Source, ...], stage: Staging, report: Report, convert: Convert
) -> tuple[Path, tuple[Manifest, ...]]:
    """The folder with the variants, and their manifests by name."""
    failures: list[tuple[str, StoreError]] = []
    for index, source in enumerate(sources):
        try:
            return _from(name, model, source, stage.make(f"try-{index}"), report, convert)
        except (SourceError, ConversionError) as error:
            log.info("source_failed model=%s source=%s reason=%s", name, source.label, error)
            failures.append((source.label, error))
            if index + 1 < len(sources):
                report(Progress("note", f"{source.label}: {error}; trying {sources[index + 1].label}"))
    raise PullFailed(name, tuple(failures))


def _from(
    name: str, model: Model, source: Source, folder: Path, report: Report, convert: Convert
) -> tuple[Path, tuple[Manifest, ...]]:
    fetched_into, built_into, scratch = (folder / part for part in ("source", "built", "scratch"))
    for part in (fetched_into, built_into, scratch):
        part.mkdir()
    fetched = fetch(source, fetched_into, scratch=scratch, report=report)
    built = convert(source.format, fetched_into, built_into, lambda what: report(Progress("convert", what)))
    _check(built, built_into)
    drafts = sorted((_draft(name, model, fetched, variant) for variant in built), key=lambda draft: draft.variant)
    return built_into, tuple(describe(draft, built_into / draft.variant) for draft in drafts)


def _check(built: tuple[Built, ...], folder: Path) -> None:
    """What is published must be what the converter says that it built."""
    told, there = {variant.variant for variant in built}, {entry.name for entry in folder.iterdir()}
    if not told or told != there:
        raise ConversionError(folder, f"it holds {sorted(there)} where the converter speaks of {sorted(told)}")


def _draft(name: str, model: Model, fetched: Fetched, built: Built) -> Manifest:
    return Manifest(
        model=name,
        variant=built.variant,
        family=model.family,
        precision=built.precision,
        runtime=built.runtime,
        languages=model.languages,
        license=model.license,
        source=fetched.origin,
        source_files=fetched.files,
        parent=built.parent,
        recipe=built.recipe,
        files=(),
        created=datetime.now(UTC),
    )


def _convert(source_format: SourceFormat, source: Path, target: Path, say: Say) -> tuple[Built, ...]:
    from model_store.convert import convert  # noqa: PLC0415  onnx is slow to import, and most pulls find it done

    return convert(source_format, source, target, report=say)
