"""Local wall-clock times, as recorders write them, to UTC."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from snapsim.errors import UsageError
from snapsim.traces.readers.base import Options, ReadLog
from snapsim.types import Int64Array
from snapsim.units import HOUR

TIMEZONE_OPTION = "time zone of the machine's wall clock (UTC unless said)"


def wall_clock(options: Options, log: ReadLog) -> "WallClock":
    """Make the clock that the option `timezone` asks for, and report it; an assumed one is noted."""
    timezone = options.get("timezone")
    clock = WallClock("UTC" if timezone is None else str(timezone))
    log.set_option("timezone", clock.timezone)
    if timezone is None:
        log.note(
            "the wall-clock times are taken for UTC: if the machine showed another, name it with timezone="
        )
    return clock


class WallClock:
    """The clock of a machine that logged local time; fed in the order of the log.

    Parameters
    ----------
    timezone : str
        "UTC", or a name such as "Europe/Berlin".

    Raises
    ------
    UsageError
        There is no such time zone.

    Notes
    -----
    A time in the hour that a clock shows twice (when summer time ends) belongs to the first pass until the
    times jump back.  A time in the hour that a clock leaves out is moved to the end of that hour.
    """

    def __init__(self, timezone: str) -> None:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            msg = f'{timezone!r} is not a time zone: name one as in "UTC" or "Europe/Berlin"'
            raise UsageError(msg) from error
        self.timezone = timezone
        self._latest = int(np.iinfo(np.int64).min) + HOUR
        self._put_back = False

    def to_utc(self, local_ns: Int64Array) -> Int64Array:
        """Convert the next times of the log.

        Parameters
        ----------
        local_ns : int64 array, shape (n,)
            Wall-clock time, counted since 1970 as if it were UTC.  [ns]

        Returns
        -------
        int64 array, shape (n,)
            Unix time.  [ns]
        """
        if self.timezone == "UTC" or not len(local_ns):
            return local_ns
        latest = np.maximum.accumulate(np.concatenate(([self._latest], local_ns)))
        jumped = local_ns < latest[:-1] - HOUR // 2
        second_pass = np.logical_or.accumulate(jumped) | self._put_back
        self._latest, self._put_back = int(latest[-1]), bool(second_pass[-1])
        wall = pd.DatetimeIndex(local_ns.view("M8[ns]"))
        aware = wall.tz_localize(self.timezone, ambiguous=~second_pass, nonexistent="shift_forward")
        return np.asarray(aware.tz_convert("UTC").as_unit("ns").asi8, np.int64)
