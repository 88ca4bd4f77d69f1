"""The text fields of a form in (`x`, `x[]`, `x[0]`, `x[key]`, repeated or not), one value a name out.

Clients write a list as `x[]` or as a repeated `x`, and a record as `x[key]` or as JSON; here the spelling is forgotten.
An empty value means that the field was not given.
"""

import re
from collections.abc import Collection, Iterable

from service.errors import OptionError

FieldValue = str | list[str] | dict[str, str]

_NAME = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<key>[^\[\]]*)\])?")


def gather(fields: Iterable[tuple[str, str]], *, lists: Collection[str]) -> dict[str, FieldValue]:
    """The fields by their bare name; a name in `lists` always has a list.

    Raises:
        OptionError: a field that holds one value was given twice.
    """
    gathered: dict[str, FieldValue] = {}
    for spelled, value in fields:
        match = _NAME.fullmatch(spelled)
        if match is None or not value.strip():
            continue
        name, key = match["name"], match["key"]
        if key and not key.isdecimal() and name not in lists:
            _put(gathered, name, key, value)
        elif key is None and name not in lists:
            _set(gathered, name, value)
        else:
            _append(gathered, name, value)
    return gathered


def _set(gathered: dict[str, FieldValue], name: str, value: str) -> None:
    if name in gathered:
        raise OptionError(f"The field '{name}' was given twice. Give it once.", param=name)
    gathered[name] = value


def _append(gathered: dict[str, FieldValue], name: str, value: str) -> None:
    values = gathered.setdefault(name, [])
    if not isinstance(values, list):
        raise OptionError(f"The field '{name}' was given as a value and as '{name}[]'. Give one of them.", param=name)
    values.append(value)


def _put(gathered: dict[str, FieldValue], name: str, key: str, value: str) -> None:
    record = gathered.setdefault(name, {})
    if not isinstance(record, dict) or key in record:
        raise OptionError(f"The field '{name}[{key}]' was given twice or beside '{name}'. Give it once.", param=name)
    record[key] = value
