"""How far back a window reaches: durations ("36h") and calendar lengths ("1mo", "1y6mo").

A day is 24 hours here, whatever the clock does.  Months and years follow the calendar of the policy's zone
the way Go's `AddDate` does, and so restic: the 31st of March less one month is the "31st of February", which
is the 3rd of March (the 2nd in a leap year).
"""

import re
from dataclasses import dataclass

import numpy as np

from snapsim.errors import PolicyError, UnitError
from snapsim.policy import zones
from snapsim.policy.buckets import MONTH
from snapsim.types import Int64Array
from snapsim.units import DAY, parse_duration

_CALENDAR = re.compile(r"(?P<count>\d+)\s*(?P<unit>mo|months?|y|years?)(?![A-Za-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Window:
    """A stretch of time that ends at a reference.

    Attributes
    ----------
    text : str
        As it was written.
    months : int
        Calendar months; a year is twelve.
    duration_ns : int
        What comes off in addition.  [ns]
    days : int
        Days of the calendar, which have 23 or 25 hours where the clock is changed.
    """

    text: str
    months: int
    duration_ns: int
    days: int = 0

    @classmethod
    def of(cls, value: int | str) -> "Window":
        """Read a window.

        Parameters
        ----------
        value : int or str
            Nanoseconds, or text such as "48h", "7d", "1mo", "1y6mo".

        Returns
        -------
        Window
            The window.

        Raises
        ------
        PolicyError
            The text cannot be read, or the window is empty.
        """
        text = value if isinstance(value, str) else f"{value}ns"
        calendar = list(_CALENDAR.finditer(text))
        months = sum(
            int(part["count"]) * (12 if part["unit"].lower().startswith("y") else 1) for part in calendar
        )
        rest = _CALENDAR.sub("", text).strip()
        try:
            duration = (
                parse_duration(rest if isinstance(value, str) else value) if rest or not calendar else 0
            )
        except UnitError as error:
            raise PolicyError(f'{error} (calendar months and years are written "1mo" and "1y")') from None
        if months == 0 and duration == 0:
            raise PolicyError(
                f'window {value!r} is empty: give a positive duration such as "48h", or leave it out'
            )
        if months > 12_000:
            raise PolicyError(f"window {value!r} is longer than a thousand years")
        return cls(text, months, duration)

    @property
    def length_ns(self) -> int:
        """Mean length.  [ns]"""
        return self.months * MONTH + self.days * DAY + self.duration_ns

    def start(self, reference_ns: Int64Array, timezone: str) -> Int64Array:
        """Return where the window starts; what is inside is strictly later.

        Parameters
        ----------
        reference_ns : int64 array, shape (n,)
            Ends of the window, UTC.  [ns]
        timezone : str
            IANA name of the zone whose calendar counts.

        Returns
        -------
        int64 array, shape (n,)
            Starts, UTC.  [ns]
        """
        if not self.months and not self.days:
            # a window that starts before time itself contains everything
            low = np.iinfo(np.int64).min + self.duration_ns
            return np.maximum(reference_ns, low) - self.duration_ns
        local = zones.to_local(timezone, reference_ns)
        month = local.astype("datetime64[ns]").astype("datetime64[M]")
        into_month = local - month.astype("datetime64[ns]").astype(np.int64)
        earlier = (month - self.months).astype("datetime64[D]").astype(np.int64)
        earlier = np.maximum(earlier, -106_000)  # the first day that nanoseconds reach
        return zones.from_local(timezone, (earlier - self.days) * DAY + into_month) - self.duration_ns
