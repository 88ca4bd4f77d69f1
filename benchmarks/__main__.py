"""Run one benchmark (`python -m benchmarks latency --data DIR`), or all that there are, one after another.

`make bench BENCH="latency --data DIR"` is the same. Without --data (or WREN_BENCH_DATA) the few recordings of
pytest-audioeval are taken: enough to see that it runs, too few to say anything of accuracy.
"""

import ast
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def questions() -> dict[str, str]:
    """Each benchmark with the question it answers: the first line of its docstring."""
    scripts = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.py")) if path.stem != "__main__"}
    runnable = {name: text for name, text in scripts.items() if "\ndef main() -> None:" in text}
    return {name: (ast.get_docstring(ast.parse(text)) or "").splitlines()[0] for name, text in runnable.items()}


def run(name: str, options: list[str]) -> int:
    """Each in a process of its own: what one left in memory must not be in the figures of the next."""
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode


def main() -> int:
    known = questions()
    named = sys.argv[1:2]
    if not named:
        return max(run(name, []) for name in known)
    if named[0] in known:
        return run(named[0], sys.argv[2:])
    print("python -m benchmarks [NAME [OPTIONS]]\n")
    for name, question in known.items():
        print(f"  {name:<12}{question}")
    return 0 if named[0] in ("-h", "--help", "--list") else 2


if __name__ == "__main__":
    sys.exit(main())
