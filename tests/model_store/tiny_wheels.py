"""Wheels of a few bytes and a package index (PEP 503) that offers them."""

import io
import zipfile
from pathlib import Path

from local_site import Page, Site
from tiny_models import sha256

from model_store.catalog import PypiSource, Wheel, WheelFile


def wheel(
    name: str, members: dict[str, bytes], *, tag: str = "py3-none-any", version: str = "1.0"
) -> tuple[str, bytes]:
    """The file name and the bytes of a wheel."""
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=99\n"
    built = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    told = {f"{info}/METADATA": about.encode(), f"{info}/WHEEL": built.encode(), f"{info}/RECORD": b""}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in (members | told).items():
            archive.writestr(path, data)
    return f"{plain}-{version}-{tag}.whl", packed.getvalue()


def offer(site: Site, name: str, file: str, data: bytes) -> None:
    """Puts a wheel on the index at /simple/."""
    page = f'<!DOCTYPE html><a href="/files/{file}" data-requires-python="&gt;=99">{file}</a>'
    site.put(f"/simple/{name}/", Page(page.encode(), headers={"Content-Type": "text/html"}))
    site.put(f"/files/{file}", Page(data, headers={"Content-Type": "application/octet-stream"}))


def pinned(name: str, data: bytes, *, platform: str | None = None) -> Wheel:
    return Wheel(requirement=f"{name}==1.0", sha256=sha256(data), bytes=len(data), platform=platform)


def member(name: str, data: bytes, *members: str) -> WheelFile:
    return WheelFile(name=name, sha256=sha256(data), bytes=len(data), members=members)


def source(wheels: tuple[Wheel, ...], *files: WheelFile) -> PypiSource:
    return PypiSource(kind="pypi", format="whisper-ctranslate2", wheels=wheels, files=files)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
