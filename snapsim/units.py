"""Bytes and durations: read from text, written for people.

Sizes are bytes in int, shown with IEC units (KiB = 1024).  Durations are nanoseconds in int; in text
they are "15min", "6h", "7d".  Months and years are calendar lengths, not durations, and are refused here.
"""

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np

from snapsim.errors import UnitError

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

KIB, MIB, GIB, TIB, PIB = (1024**power for power in range(1, 6))

_INT64_MAX = 2**63 - 1

_SIZE_UNITS = {
    "": 1, "b": 1,
    "k": KIB, "kib": KIB, "m": MIB, "mib": MIB, "g": GIB, "gib": GIB, "t": TIB, "tib": TIB, "p": PIB, "pib":
    PIB,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15,
    "s": 512, "sector": 512, "sectors": 512,
}  # fmt: skip

_DURATION_UNITS = {
    "ns": NANOSECOND, "us": MICROSECOND, "ms": MILLISECOND,
    "s": SECOND, "sec": SECOND, "second": SECOND, "seconds": SECOND,
    "min": MINUTE, "minute": MINUTE, "minutes": MINUTE,
    "h": HOUR, "hour": HOUR, "hours": HOUR,
    "d": DAY, "day": DAY, "days": DAY,
    "w": WEEK, "week": WEEK, "weeks": WEEK,
}  # fmt: skip

_STEPS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (MILLISECOND, "ms"), (MICROSECOND, "us"))

_QUANTITY = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>[A-Za-z]*)\s*")


def parse_size(value: int | str) -> int:
    """Read a number of bytes.

    Parameters
    ----------
    value : int or str
        Bytes, or text such as "64KiB", "1.5 GiB", "4k", "10 GB" (decimal), "63s" (sectors of 512 bytes).

    Returns
    -------
    int
        The size.  [bytes]

    Raises
    ------
    UnitError
        The text is not a size, is negative, is not a whole number of bytes, or does not fit into 63 bits.

    Examples
    --------
    >>> parse_size("64KiB")
    65536
    >>> parse_size("1.5k")
    1536
    """
    return _parse(value, _SIZE_UNITS, kind="size", example='"64KiB" or "1.5 GiB"')


def parse_duration(value: int | str) -> int:
    """Read a duration.

    Parameters
    ----------
    value : int or str
        Nanoseconds, or text such as "15min", "6h", "7d", "1h30min".

    Returns
    -------
    int
        The duration.  [ns]

    Raises
    ------
    UnitError
        The text is not a duration.  "m" is refused because it could be minutes or months.

    Examples
    --------
    >>> parse_duration("1h30min") // SECOND
    5400
    """
    if isinstance(value, str):
        parts = re.findall(r"[\d.]+\s*[A-Za-z]+", value)
        if len(parts) > 1 and "".join(value.split()) == "".join("".join(parts).split()):
            return sum(parse_duration(part) for part in parts)
        if re.fullmatch(r"\s*[\d.]+\s*[mM]\s*", value):
            msg = f'duration {value!r} could be minutes or months: write "min" for minutes'
            raise UnitError(msg)
        if re.fullmatch(r"\s*[\d.]+\s*", value):
            bare = value.strip()
            msg = f'duration {value!r} has no unit: write "{bare}s", "{bare}min" or "{bare}h"'
            raise UnitError(msg)
    return _parse(value, _DURATION_UNITS, kind="duration", example='"15min", "6h" or "7d"')


def _parse(value: int | str, units: dict[str, int], *, kind: str, example: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer | str):
        msg = f"{kind} {value!r} is neither a whole number nor text such as {example}"
        raise UnitError(msg)
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        unit = units.get(match["unit"].lower()) if match else None
        if match is None or unit is None:
            msg = f"{kind} {value!r} cannot be read: write it like {example}"
            raise UnitError(msg)
        exact = Fraction(Decimal(match["number"])) * unit
        if exact.denominator != 1:
            msg = f"{kind} {value!r} is not a whole number of {'bytes' if kind == 'size' else 'nanoseconds'}"
            raise UnitError(msg)
        number = exact.numerator
    else:
        number = int(value)
    if not 0 <= number <= _INT64_MAX:
        msg = f"{kind} {value!r} is out of range: it must lie between 0 and 2^63 - 1"
        raise UnitError(msg)
    return number


def format_size(size: float, *, digits: int = 3) -> str:
    """Write a number of bytes for people, with IEC units.

    Parameters
    ----------
    size : int or float
        The size.  [bytes]
    digits : int
        Significant digits; exact multiples are shown without a fraction.

    Returns
    -------
    str
        For example "64 KiB" or "1.46 GiB".

    Examples
    --------
    >>> format_size(65536), format_size(1_567_000_000), format_size(-512)
    ('64 KiB', '1.46 GiB', '-512 B')
    """
    sign, magnitude = ("-", -size) if size < 0 else ("", size)
    power = 0
    # 1023.5 KiB would be rounded to 1024 KiB: step to the next unit a little before 1024
    while magnitude >= 1023.5 and power < 6:
        magnitude /= 1024
        power += 1
    unit = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")[power]
    return f"{sign}{_significant(magnitude, digits)} {unit}"


def format_duration(duration: int, *, digits: int = 3) -> str:
    """Write a duration for people.

    Parameters
    ----------
    duration : int
        The duration.  [ns]
    digits : int
        Significant digits when the duration is not a whole number of its unit.

    Returns
    -------
    str
        For example "15min", "6h", "7d", "6.98d"; durations below a second use ms, us, ns.

    Examples
    --------
    >>> format_duration(15 * MINUTE), format_duration(7 * DAY), format_duration(1_500_000)
    ('15min', '7d', '1.5ms')
    """
    sign, magnitude = ("-", -duration) if duration < 0 else ("", duration)
    for unit, text in _STEPS:
        if magnitude >= unit:
            return f"{sign}{_significant(magnitude / unit, digits)}{text}"
    return f"{sign}{magnitude}ns"


def _significant(number: float, digits: int) -> str:
    if number == int(number):
        return str(int(number))
    whole = len(str(int(number))) if number >= 1 else 1
    text = f"{number:.{max(digits - whole, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
