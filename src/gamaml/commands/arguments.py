"""Arguments that more than one command takes."""

from __future__ import annotations

from collections import Counter

from gamaml.errors import ConfigError


def parse_seeds(text: str) -> list[int]:
    """Read seeds like "0-9" or "1,4,10-12", in the order given.

    Raises:
        ConfigError: it is of another form, a range is empty, or a seed comes twice.
    """
    return _parse_numbers("--seeds", "seed", text)


def parse_rounds(text: str) -> list[int]:
    """Read numbers of inner rounds like "0-10" or "0,1,5,10", in ascending order.

    Raises:
        ConfigError: as `parse_seeds`.
    """
    return sorted(_parse_numbers("--rounds", "round", text))


def _parse_numbers(option: str, noun: str, text: str) -> list[int]:
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise ConfigError(f"{option} {text!r}: expected {noun}s like 0-9 or 1,4,10-12, got {part!r}; correct it")
        if dash and int(last) < int(first):
            raise ConfigError(f"{option} {text!r}: expected the lower {noun} first, got {part!r}; turn it round")
        numbers += range(int(first), int(last or first) + 1)
    double = next((number for number, count in Counter(numbers).items() if count > 1), None)
    if double is not None:
        raise ConfigError(f"{option} {text!r}: expected each {noun} once, got {double} twice; leave one out")
    return numbers
