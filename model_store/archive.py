"""A model in one file, for a site without a network: variants of a store in, a tar out; such a tar in, variants out.

For each variant the tar has MODEL/VARIANT/manifest.json, its checksum, and the files that it lists, by name. On the way
in, each member must be the very one that comes next: so there is nothing to guard against one by one, be it links,
paths, second files of a name or more bytes than told. It is not compressed: weights hardly shrink, and what cannot grow
while it is unpacked cannot fill a disk. The same variants give the same bytes.

A checksum tells of damage, not of who made a file: import only what comes from somebody you trust.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from model_store.errors import (
    BrokenVariant,
    ImportRefused,
    SourceError,
    StoreUnwritable,
    UnsafeArchive,
    WrongSize,
    writing,
)
from model_store.inspection import fault
from model_store.manifest import FILE_NAME, File, Manifest
from model_store.registry import Registry
from model_store.sources.checked import CHUNK_BYTES, CheckedFile, Expected
from model_store.staging import flush

MANIFEST_BYTES = 4 << 20
"""No manifest is longer: an evaluation takes less than a thousandth of it."""

CHECKSUM = f"{FILE_NAME}.sha256"
"""As `sha256sum` writes it: the manifest vouches for the other files, and this for the manifest."""

HEADERS = tarfile.USTAR_FORMAT
"""One block a member and nothing besides, whatever its name; files under 8 GiB."""


def export(registry: Registry, model: str, variant: str | None, path: Path) -> tuple[Manifest, ...]:
    """Writes a variant, or all variants of a model, into the file `path`; what was there before is replaced.

    Raises:
        NotInStore: nothing of that name is in the store.
        BrokenVariant: a file is changed or missing; nothing is written.
        StoreUnwritable: `path` cannot be written.
    """
    manifests = tuple(registry.get(model, name) for name in registry.present(model, variant))
    for manifest in manifests:
        registry.checked(manifest)
    part = path.with_name(path.name + ".part")
    with writing(path):
        try:
            with tarfile.open(part, "w", format=HEADERS) as tar:
                for manifest in manifests:
                    _pack(tar, manifest, registry.path(manifest))
            flush(part)
            part.replace(path)
        except ValueError as error:
            raise StoreUnwritable(path, f"a tar cannot hold it ({error})") from error
        finally:
            part.unlink(missing_ok=True)
    return manifests


def load(registry: Registry, path: Path) -> tuple[Manifest, ...]:
    """Puts the variants in the file `path` into the store, each as the next build of its name.

    Raises:
        ImportRefused: the file is not an export, or was changed; says which member is wrong.
        StoreUnwritable: the store is as it was.
    """
    try:
        with path.open("rb") as file:
            return _unpack(registry, _Members(file, path.name))
    except StoreUnwritable:
        raise
    except SourceError as error:
        raise ImportRefused(path, f"{error}.") from error
    except OSError as error:
        raise ImportRefused(path, f"it cannot be read ({error.strerror}).") from error


def _pack(tar: tarfile.TarFile, manifest: Manifest, folder: Path) -> None:
    text = manifest.model_dump_json(indent=2).encode()
    for name, data in ((FILE_NAME, text), (CHECKSUM, _checksum(text))):
        tar.addfile(_member(manifest, name, len(data)), io.BytesIO(data))
    for file in _in_order(manifest):
        path = folder / file.name
        with path.open("rb") as source:
            # Once more, of what is open here: another process may have put a new build in place just now.
            if hashlib.file_digest(source, "sha256").hexdigest() != file.sha256:
                raise BrokenVariant(manifest.name, file=path, reason="it was changed just now")
            source.seek(0)
            tar.addfile(_member(manifest, file.name, file.bytes), source)


def _member(manifest: Manifest, name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(_path(manifest, name))  # belongs to nobody and was made in 1970
    member.size = size
    return member


def _checksum(manifest: bytes) -> bytes:
    return f"{hashlib.sha256(manifest).hexdigest()}  {FILE_NAME}\n".encode()


def _path(manifest: Manifest, name: str) -> str:
    return f"{manifest.model}/{manifest.variant}/{name}"


def _in_order(manifest: Manifest) -> list[File]:
    return sorted(manifest.files, key=lambda file: file.name)


def _unpack(registry: Registry, members: "_Members") -> tuple[Manifest, ...]:
    manifest = members.manifest()
    if manifest is None:
        raise UnsafeArchive(members.archive, "nothing is in it")
    model, found = manifest.model, dict[str, Manifest]()
    with registry.stage(model) as stage:
        built = stage.make("built")
        while manifest is not None:
            if manifest.model != model or manifest.variant in found:
                raise UnsafeArchive(
                    _path(manifest, FILE_NAME), f"it may hold each variant of {model} once, and no other"
                )
            found[manifest.variant] = manifest
            folder = built / manifest.variant
            with writing(folder):
                folder.mkdir()
            for file in _in_order(manifest):
                members.file(_path(manifest, file.name), file, folder)
            manifest = members.manifest()
        return registry.publish(stage, built, tuple(found.values()))


class _Members:
    """What is in an archive, one member after another.

    Each has one header, as `export` writes it: all that tar knows besides, longer names, sparse files, links, has no
    place here.
    """

    def __init__(self, file: BinaryIO, archive: str) -> None:
        self._file, self.archive = file, archive

    def manifest(self) -> Manifest | None:
        """The member that comes next, None at the end of the archive."""
        header = self._header()
        if header is None:
            return None
        if header.size > MANIFEST_BYTES or not header.name.endswith(f"/{FILE_NAME}"):
            raise UnsafeArchive(
                repr(header.name), f"a variant begins with its {FILE_NAME}, of {MANIFEST_BYTES} bytes at most"
            )
        text = b"".join(self._content(header))
        try:
            manifest = Manifest.model_validate_json(text)
        except ValidationError as error:
            raise UnsafeArchive(repr(header.name), f"it is not a manifest ({fault(error)})") from error
        if header.name != _path(manifest, FILE_NAME):
            raise UnsafeArchive(repr(header.name), f"it describes another variant ({manifest.name})")
        checksum = _checksum(text)
        header = self._next(_path(manifest, CHECKSUM), len(checksum))
        if b"".join(self._content(header)) != checksum:
            raise UnsafeArchive(_path(manifest, FILE_NAME), "wrong checksum")
        return manifest

    def file(self, name: str, expected: File, folder: Path) -> None:
        """Reads the member that comes next, which must be `name`, into `folder`."""
        header = self._next(name, expected.bytes)
        what = Expected(sha256=expected.sha256, bytes=expected.bytes)
        with CheckedFile(folder / expected.name, what, label=name) as out:
            for chunk in self._content(header):
                out.write(chunk)

    def _next(self, name: str, size: int) -> tarfile.TarInfo:
        header = self._header()
        if header is None or header.name != name:
            raise UnsafeArchive(name, f"it is missing; {repr(header.name) if header else 'nothing'} is in its place")
        if header.size != size:
            raise WrongSize(name, expected=size, actual=header.size)
        return header

    def _header(self) -> tarfile.TarInfo | None:
        block = self._file.read(tarfile.BLOCKSIZE)
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return None
        except tarfile.HeaderError as error:
            raise UnsafeArchive(self.archive, f"it is damaged or no export of Wren ({error})") from error
        if header.type != tarfile.REGTYPE or header.size < 0:
            raise UnsafeArchive(repr(header.name), "it is not a plain file")
        return header

    def _content(self, header: tarfile.TarInfo) -> Iterator[bytes]:
        """The bytes of a member, and in the file the way to the next."""
        left = header.size
        while left:
            chunk = self._file.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise UnsafeArchive(repr(header.name), f"it is cut short: {left} bytes are missing")
            left -= len(chunk)
            yield chunk
        self._file.read(-header.size % tarfile.BLOCKSIZE)
