"""The conventions that a review would otherwise have to catch: who imports whom, what is documented, how long it is."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from service.origins import is_known
from service.settings import Settings

ROOT = Path(__file__).parents[1]
PACKAGES = ("service", "model_store")
MAX_LINES = 400

_OFFLINE = ("model_store.compress", "model_store.evaluate", "model_store.train")
"""What the server never needs; the command line, which stands outside of both, starts it."""

_ABOVE_AUDIO = (
    "service.recognition",
    "service.backends",
    "service.engine",
    "service.jobs",
    "service.api",
    "service.cli",
)

FORBIDDEN = {
    # who: whom it must not know
    "service.app": _OFFLINE,
    "service.audio": (*_ABOVE_AUDIO, *_OFFLINE),
    "service.recognition": ("service.engine", "service.jobs", "service.api", "service.cli", *_OFFLINE),
    "service.backends": ("service.engine", "service.jobs", "service.api", "service.cli", *_OFFLINE),
    "service.engine": ("service.jobs", "service.api", "service.cli", *_OFFLINE),
    "service.jobs": ("service.api", "service.cli", *_OFFLINE),
    "service.api": ("service.cli", *_OFFLINE),
    "model_store": ("service.api", "service.cli"),
}

RUNTIMES = {
    # package: the modules that may import it, by the beginning of their names
    "torch": ("service.backends.torch", "model_store.compress", "model_store.train"),
    "onnxruntime": ("service.backends.onnx", "service.audio.vad", "model_store.convert", "model_store.compress"),
    "openvino": ("service.backends.openvino",),
    "ctranslate2": (),
    "psycopg": ("service.jobs.postgres",),
    "opentelemetry": ("service.api.spans",),
}

HEAVY = ("onnxruntime", "onnx", "av", "torch", "soundfile", "ctranslate2", "huggingface_hub", "psycopg")


ENGINE_USERS = ("model_store.compress", "model_store.evaluate", "model_store.train")
"""What the store compresses and evaluates goes through the recogniser that serves; nothing else there knows of it."""


@cache
def imports() -> dict[str, frozenset[str]]:
    """Every module of the packages with all that it imports, in whatever function, under `TYPE_CHECKING` or not."""
    return {_name(path): frozenset(_imported(path)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize(("importer", "strangers"), FORBIDDEN.items())
def test_imports_go_one_way(importer: str, strangers: tuple[str, ...]) -> None:
    wrong = [
        f"{module} imports {name}"
        for module, names in imports().items()
        if _within(module, importer)
        for name in names
        if any(_within(name, stranger) for stranger in strangers)
    ]
    assert not wrong


def test_the_store_itself_knows_nothing_of_the_service() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, names in imports().items()
        if _within(module, "model_store") and not module.startswith(ENGINE_USERS)
        for name in names
        if _within(name, "service.engine") or _within(name, "service.recognition")
    ]
    assert not wrong


@pytest.mark.parametrize(("runtime", "owners"), RUNTIMES.items())
def test_runtime_is_imported_by_its_owners_alone(runtime: str, owners: tuple[str, ...]) -> None:
    wrong = [
        module
        for module, names in imports().items()
        if any(_within(name, runtime) for name in names) and not module.startswith(owners)
    ]
    assert not wrong


@pytest.mark.parametrize("module", ["service", "model_store", "service.cli.main"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_server_does_without_torch() -> None:
    code = "import sys, service.app, service.engine.engine, service.engine.trial; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_server_does_without_opentelemetry() -> None:
    code = "import sys, service.app, service.cli.server, service.cli.serve; print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_pins_of_one_machine_do_not_contradict_each_other() -> None:
    base, dev, cuda, otel = (_pins(ROOT / f"requirements{kind}.lock") for kind in ("", "-dev", "-cuda", "-otel"))
    assert not base.keys() & dev.keys()
    assert not base.keys() & cuda.keys()
    assert {name: cuda[name] for name in dev.keys() & cuda.keys()} == {name: dev[name] for name in dev.keys() & cuda}
    assert {name: dev.get(name) for name in otel} == otel
    assert "torch" in dev.keys() & cuda.keys()


def _pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {
        re.sub("[-_.]+", "-", name).lower(): version for name, version in (re.split("={2,3}", one) for one in lines)
    }


def test_every_setting_is_documented() -> None:
    pages = (ROOT / "README.md").read_text() + (ROOT / "docs" / "settings.md").read_text()
    missing = [name for name in Settings.model_fields if f"`WREN_{name.upper()}`" not in pages]
    assert not missing


def test_documented_settings_exist() -> None:
    documented = re.findall(r"^\| `WREN_(\w+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert {name.lower() for name in documented} == set(Settings.model_fields)


@pytest.mark.parametrize("page", ["README.md", *sorted(path.name for path in (ROOT / "docs").glob("*.md"))])
def test_no_page_names_a_variable_that_means_nothing(page: str) -> None:
    text = (ROOT / page if page == "README.md" else ROOT / "docs" / page).read_text()
    assert not {name for name in re.findall(r"\bWREN_[A-Z0-9_]*[A-Z0-9]\b", text) if not is_known(name)}


def test_file_map_is_the_files() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    listed = set(re.findall(r"^- `([^`]+\.py)`", page, re.MULTILINE))
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    assert not there - listed, "give each a phrase in docs/architecture.md"
    assert not listed - there, "gone: strike them from docs/architecture.md"


def test_readme_names_files_that_exist() -> None:
    named = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_no_file_is_long() -> None:
    folders = (*PACKAGES, "tests", "benchmarks")
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert not long


def test_no_module_is_a_drawer() -> None:
    drawers = [name for name in imports() if re.search(r"\b(helpers?|utils?|common|misc)\b", name.replace("_", "."))]
    assert not drawers
