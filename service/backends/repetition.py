"""A guard against loops: a decoder that lost the audio says the same words for ever."""

from collections.abc import Sequence

LONGEST_CYCLE = 24
"""Tokens of the longest phrase that is looked for."""

TIMES = 4
"""A phrase said this often in a row is a loop …"""

TOKENS = 16
"""… if it fills this many tokens too: "no, no, no, no" is speech."""


def looping(tokens: Sequence[int]) -> bool:
    """Whether the tokens end in a phrase repeated TIMES or more, over TOKENS or more tokens."""
    return any(
        _repeats(tokens, cycle, max(cycle * TIMES, TOKENS))
        for cycle in range(1, LONGEST_CYCLE + 1)
        if max(cycle * TIMES, TOKENS) <= len(tokens) and tokens[-1] == tokens[-1 - cycle]
    )


def _repeats(tokens: Sequence[int], cycle: int, span: int) -> bool:
    """Whether the last `span` tokens have the period `cycle`."""
    end = len(tokens)
    return all(tokens[at] == tokens[at - cycle] for at in range(end - 1, end - 1 - (span - cycle), -1))


def unlooped(tokens: Sequence[int]) -> int:
    """How many tokens to keep of a sequence that ended looping: the phrase once."""
    for cycle in range(1, LONGEST_CYCLE + 1):
        if max(cycle * TIMES, TOKENS) <= len(tokens) and _repeats(tokens, cycle, max(cycle * TIMES, TOKENS)):
            start = len(tokens) - 1
            while start >= cycle and tokens[start] == tokens[start - cycle]:
                start -= 1
            return start + 1
    return len(tokens)
