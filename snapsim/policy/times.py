"""Points in time as people write them: read into int64 nanoseconds UTC, and back."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from snapsim.errors import PolicyError
from snapsim.policy.zones import EPOCH
from snapsim.units import MICROSECOND, SECOND


def parse_instant(value: int | str | datetime, *, what: str = "time") -> int:
    """Read a point in time.

    Parameters
    ----------
    value : int, str or datetime
        Nanoseconds since the Unix epoch, ISO 8601 text, or a datetime; with a time zone.
    what : str
        What it is, for the message.

    Returns
    -------
    int
        Nanoseconds since the Unix epoch, UTC.  [ns]

    Raises
    ------
    PolicyError
        The time zone is missing, the text cannot be read, or 63 bits of nanoseconds do not reach that far.

    Examples
    --------
    >>> parse_instant("1970-01-01T01:00+01:00")
    0
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return _in_range(int(value), value, what)
    moment: Any = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise PolicyError(f'{what} {value!r} cannot be read: write it like "2026-01-31T12:00Z"') from None
    if not isinstance(moment, datetime):
        raise PolicyError(
            f"{what} {value!r} is no point in time: give nanoseconds, ISO 8601 text or a datetime"
        )
    if moment.utcoffset() is None:
        raise PolicyError(f'{what} {value!r} has no time zone: add one, such as "2026-01-31T12:00Z" for UTC')
    # a pandas Timestamp is a datetime that knows nanoseconds beside the microseconds
    return _in_range(
        (moment - EPOCH) // timedelta(microseconds=1) * MICROSECOND + getattr(moment, "nanosecond", 0),
        value,
        what,
    )


def _in_range(number: int, value: object, what: str) -> int:
    if not np.iinfo(np.int64).min < number <= np.iinfo(np.int64).max:
        raise PolicyError(f"{what} {value!r} is out of range: nanoseconds reach from 1678 to 2262")
    return number


def format_instant(time_ns: int) -> str:
    """Write a point in time.

    Parameters
    ----------
    time_ns : int
        Nanoseconds since the Unix epoch, UTC.  [ns]

    Returns
    -------
    str
        ISO 8601 in UTC, with as many decimals as are needed.

    Examples
    --------
    >>> format_instant(0), format_instant(1_500_000_000)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.5Z')
    """
    seconds, rest = divmod(time_ns, SECOND)
    decimals = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}{decimals}Z"
