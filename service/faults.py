"""What is wrong with a setting, as pydantic has it, in; a line for the operator, with what to write, out. Pure."""

import re
from collections.abc import Mapping
from typing import get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

SHOWN_CHARACTERS = 80
LINKED = "Kubernetes sets it for a service named wren: set enableServiceLinks: false in the pod, or name it otherwise"

_WANTED: Mapping[str, str] = {
    "bool": "true or false",
    "finite": "a number that is finite",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "set": "a list",
    "string": "some text",
    "tuple": "a list",
}
"""By the beginning of the type of the fault."""

_PASSWORD = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")


def wrong(fault: ErrorDetails, field: FieldInfo, *, secret: bool) -> str:
    """What was said, why it cannot be, what to write; of a secret nothing of what was said."""
    raised = fault.get("ctx", {}).get("error")
    if fault["type"] == "value_error" and raised is not None:
        return _without(str(raised), fault["input"]) if secret else without_password(str(raised))
    given = "what it holds" if secret else shown(fault["input"])
    hint = f" ({LINKED})" if str(fault["input"]).startswith("tcp://") else ""
    return f"{given} is wrong: write {_wanted(fault, field)}{hint}"


def shown(value: object) -> str:
    """As a person would write it, cut where it gets long; of an address not its password."""
    text = without_password(str(value))
    cut = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
    return repr(cut) if isinstance(value, str) else cut


def without_password(text: str) -> str:
    return _PASSWORD.sub("***", text)


def _wanted(fault: ErrorDetails, field: FieldInfo) -> str:
    kind, _, rest = fault["type"].partition("_")
    if kind == "literal":
        return str(fault["ctx"]["expected"]).replace("'", "")
    if rest == "too_short":
        return "something: it is empty"
    if kind in ("greater", "less"):
        kind = "int" if int in (field.annotation, *get_args(field.annotation)) else "float"
    wanted = _WANTED.get(kind) or fault["msg"].removeprefix("Input should be ")
    return f"{wanted} {_bounds(field)}".strip() if kind in ("int", "float") else wanted


def _bounds(field: FieldInfo) -> str:
    """Within which it must lie, in words; nothing if there are none."""
    least = next((limit for limit in field.metadata if isinstance(limit, Ge | Gt)), None)
    most = next((limit for limit in field.metadata if isinstance(limit, Le | Lt)), None)
    words = [] if least is None else [f"of at least {least.ge}" if isinstance(least, Ge) else f"above {least.gt}"]
    words += [] if most is None else [f"of at most {most.le}" if isinstance(most, Le) else f"below {most.lt}"]
    return " and ".join(words)


def _without(message: str, value: object) -> str:
    """A message of a check of our own, which may quote a secret: none of its parts stays."""
    parts = value if isinstance(value, (list, tuple)) else re.split(r"[,\s]+", str(value))
    for part in sorted((str(part) for part in (str(value), *parts) if str(part)), key=len, reverse=True):
        message = message.replace(part, "***")
    return message
