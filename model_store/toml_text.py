"""Values in, TOML text out: as in JSON, but for tables, which are written on one line."""

import json
from collections.abc import Mapping


def value(given: object) -> str:
    """A number, a text, a list or a table."""
    if isinstance(given, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {value(one)}" for name, one in given.items()) + "}"
    if isinstance(given, list | tuple):
        return "[" + ", ".join(value(one) for one in given) + "]"
    return json.dumps(given, ensure_ascii=False)


def document(given: Mapping[str, object]) -> str:
    """A line for each entry; a list of tables, such as steps, as tables of their own."""
    plain, tables = [], []
    for name, one in given.items():
        if isinstance(one, list | tuple) and one and all(isinstance(entry, Mapping) for entry in one):
            tables += [f"\n[[{name}]]\n" + _lines(entry) for entry in one if isinstance(entry, Mapping)]
        else:
            plain.append((name, one))
    return _lines(dict(plain)) + "".join(tables)


def _lines(entries: Mapping[str, object]) -> str:
    return "".join(f"{name} = {value(one)}\n" for name, one in entries.items())
