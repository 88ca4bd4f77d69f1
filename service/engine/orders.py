"""Names in an operator's orders to variants of the store, or what is wrong with them. Pure."""

from service.engine.choice import AUTO, Choices
from service.engine.ladder import Ladder, named
from service.engine.precision import Orders
from service.errors import OptionError


def resolved(orders: Orders, before: Orders, ladder: Ladder, choices: Choices, *, key: str) -> Orders:
    """The orders with the names of variants.

    Args:
        orders: with precisions, names of variants, or both parts.
        before: those in force: a bound that is as before was looked at then, and its rung may have left the ladder.
        ladder: that the bounds are rungs of.
        choices: what the store holds.
        key: the model's name, or that of the variant that it means.

    Raises:
        OptionError: a name means none of the model's variants, or the bounds leave nothing.
    """
    highest, lowest = (
        new if new == old else _rung(param, new, ladder, choices)
        for param, new, old in (
            ("highest", orders.highest, before.highest),
            ("lowest", orders.lowest, before.lowest),
        )
    )
    first, last = (ladder.place(name) if name else None for name in (highest, lowest))
    if first is not None and last is not None and first > last:
        raise OptionError(f"The field 'highest' is {highest}, which is below {lowest}, the lowest.", param="highest")
    return Orders(_pinned(orders.pin, choices, key), highest, lowest)


def _pinned(name: str | None, choices: Choices, key: str) -> str | None:
    if name is None:
        return None
    model = key.partition(":")[0]
    found = named(name, choices.manifests, choices.plan(key), model=model)
    if found is None:
        there = ", ".join(one.name for one in choices.manifests if model in (AUTO, one.model))
        raise OptionError(f"The field 'pin' is {name!r}, which is none of {there}.", param="pin")
    other = found.partition(":")[0]
    if model not in (AUTO, other):
        raise OptionError(
            f"The field 'pin' is {found}, which is no variant of {model}. For that model give 'model': '{other}'.",
            param="pin",
        )
    return found


def _rung(param: str, name: str | None, ladder: Ladder, choices: Choices) -> str | None:
    """A precision means the rung that has it, though the plan may have another variant before."""
    if name is None:
        return None
    rungs = [rung.name for rung in ladder.rungs]
    for rung in rungs:
        manifest = choices.manifest(rung)
        if name == rung or (manifest and name in (manifest.variant, manifest.precision)):
            return rung
    raise OptionError(
        f"The field '{param}' is {name!r}, which is no rung of the ladder: {', '.join(rungs)}.", param=param
    )
