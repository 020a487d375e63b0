"""From bytes and nanoseconds to numbers on an axis that people can read."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import dates, ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from snapsim.units import (
    DAY,
    GIB,
    HOUR,
    KIB,
    MIB,
    MICROSECOND,
    MILLISECOND,
    MINUTE,
    PIB,
    SECOND,
    TIB,
    format_duration,
    format_size,
)

FloatArray = npt.NDArray[np.float64]

_SIZES = ((PIB, "PiB"), (TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B"))
_SPANS = (
    (3 * DAY, DAY, "d"),
    (3 * HOUR, HOUR, "h"),
    (3 * MINUTE, MINUTE, "min"),
    (SECOND, SECOND, "s"),
    (MILLISECOND, MILLISECOND, "ms"),
    (0, MICROSECOND, "µs"),
)
# Ticks people expect: quarters of an hour and of a day, weeks.
_STEPS = {
    "d": (0.25, 0.5, 1, 2, 7, 14, 28, 56, 91, 182, 364, 728, 1820),
    "h": (0.25, 0.5, 1, 2, 3, 6, 12, 24),
    "min": (0.5, 1, 2, 5, 10, 15, 30, 60),
}
# Each tick says its day and month itself: the year and the first day stand in the axis label.
_DATE_FORMATS = {
    "formats": ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S.%f"],
    "zero_formats": ["", "%b\n%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
}
_CALENDAR_FROM = 2 * DAY


@dataclass(frozen=True)
class ByteScale:
    """Bytes in the largest unit that the largest value reaches.

    Attributes
    ----------
    unit : str
        "B", "KiB", ... "PiB".
    size : int
        Bytes in one unit.
    """

    unit: str
    size: int

    @classmethod
    def fitting(cls, largest: float) -> "ByteScale":
        """Choose the unit for values up to `largest` bytes."""
        return next((cls(unit, size) for size, unit in _SIZES if largest >= size), cls("B", 1))

    def values(self, sizes: npt.ArrayLike) -> FloatArray:
        """Return bytes in the unit of the axis."""
        return np.asarray(sizes, dtype=np.float64) / self.size


@dataclass(frozen=True)
class TimeScale:
    """Points in time: dates for long recordings, time since the start for short ones.

    Attributes
    ----------
    origin_ns : int
        The start, since the Unix epoch, UTC.  [ns]
    span_ns : int
        Its length.  [ns]
    calendar : bool
        Dates rather than time since the start.
    known : bool
        Whether the start is known: dates that were only assumed are not shown.
    """

    origin_ns: int
    span_ns: int
    calendar: bool
    known: bool = True

    @classmethod
    def fitting(cls, start_ns: int, stop_ns: int, *, known: bool = True) -> "TimeScale":
        """Choose how the time from start to stop is shown."""
        span = max(stop_ns - start_ns, 1)
        return cls(start_ns, span, calendar=known and span >= _CALENDAR_FROM, known=known)

    @property
    def unit(self) -> tuple[int, str]:
        """Nanoseconds in one unit of the axis, and its name."""
        if self.calendar:
            return DAY, "UTC"
        return next((size, name) for least, size, name in _SPANS if self.span_ns >= least)

    @property
    def label(self) -> str:
        """What the axis says."""
        start = np.datetime64(self.origin_ns, "ns")
        if self.calendar:
            return f"Time [UTC], from {start.astype('datetime64[D]')!s}"
        minute = str(start.astype("datetime64[m]")).replace("T", " ")
        return f"Time since {f'{minute} UTC' if self.known else 'the start'} [{self.unit[1]}]"

    def values(self, time_ns: npt.ArrayLike) -> FloatArray:
        """Return points in time as axis values: days since the Unix epoch, or units since the start."""
        times = np.asarray(time_ns, dtype=np.int64)
        return (times if self.calendar else times - self.origin_ns) / self.unit[0]

    @property
    def limits(self) -> tuple[float, float]:
        """The start and the end, on the axis."""
        first, last = self.values([self.origin_ns, self.origin_ns + self.span_ns])
        return float(first), float(last)

    def apply(self, axes: Axes, *, vertical: bool = False, label: bool = True, ticks: int = 10) -> None:
        """Set ticks and label of an axis whose values come from `values`.

        Parameters
        ----------
        axes : matplotlib.axes.Axes
            Where.
        vertical : bool
            The y axis instead of the x axis.
        label : bool
            Whether the axis is labelled.
        ticks : int
            How many there is room for.
        """
        axis = axes.yaxis if vertical else axes.xaxis
        if self.calendar:
            locator = dates.AutoDateLocator(tz="UTC", minticks=2, maxticks=ticks)
            axis.set_major_locator(locator)
            axis.set_major_formatter(
                dates.ConciseDateFormatter(locator, tz="UTC", **_DATE_FORMATS, show_offset=False)
            )
        else:
            axis.set_major_locator(_locator(*self.unit, self.span_ns, ticks))
        if label:
            axis.set_label_text(self.label)


def _locator(size: int, unit: str, span_ns: int, ticks: int) -> ticker.Locator:
    span = span_ns / size
    for step in _STEPS.get(unit, ()):
        if span / step <= ticks:
            return ticker.MultipleLocator(step)
    return ticker.MaxNLocator(ticks, steps=[1, 2, 5, 10])


def power_ticks(low: float, high: float, *, at_most: int = 7) -> list[float]:
    """Return powers of two between two sizes, evenly spaced on a logarithmic axis.

    Parameters
    ----------
    low, high : float
        The ends of the axis, above 0.  [bytes]
    at_most : int
        Number of ticks.

    Returns
    -------
    list of float
        At least one tick.

    Examples
    --------
    >>> power_ticks(4096, 3e6)
    [4096.0, 16384.0, 65536.0, 262144.0, 1048576.0]
    """
    first, last = int(np.ceil(np.log2(low))), int(np.floor(np.log2(high)))
    if last < first:
        return [float(low)]
    step = next(step for step in (1, 2, 5, 10, 20, 40) if (last - first) // step < at_most)
    aligned = -(-first // step) * step
    exponents = range(aligned if aligned <= last else first, last + 1, step)
    return [2.0**exponent for exponent in exponents]


def label_sizes(axis: Axis, low: float, high: float) -> None:
    """Give a logarithmic axis of bytes ticks such as "64 KiB".

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The axis, or that of a colour bar.
    low, high : float
        Its ends.  [bytes]
    """
    axis.set_major_locator(ticker.FixedLocator(power_ticks(low, high)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda size, _: format_size(size)))
    axis.set_minor_locator(ticker.NullLocator())


_ROUND_SPANS = (
    *(10**exponent for exponent in range(11)), MINUTE, 10 * MINUTE, HOUR, 10 * HOUR,
    *(days * DAY for days in (1, 10, 100, 1000)),
)  # fmt: skip

_MOST_OCTAVES = 2.0**8


def duration_ticks(low: float, high: float, *, at_most: int = 7) -> list[int]:
    """Return round durations between two durations, for a logarithmic axis.

    Parameters
    ----------
    low, high : float
        The ends of the axis.  [ns]
    at_most : int
        Number of ticks.

    Returns
    -------
    list of int
        Tens of a unit, or finer where the axis is short.  [ns]

    Examples
    --------
    >>> duration_ticks(3e4, 2e9)
    [100000, 1000000, 10000000, 100000000, 1000000000]
    >>> duration_ticks(80_000, 450_000)
    [100000, 200000]
    """
    coarse = [span for span in _ROUND_SPANS if low <= span <= high]
    if len(coarse) > at_most:
        return coarse[:: -(-len(coarse) // at_most)]
    fine = sorted({factor * span for span in _ROUND_SPANS for factor in (1, 2, 5)})
    finer = [span for span in fine if low <= span <= high]
    return finer if len(coarse) < 3 and len(finer) <= at_most else coarse or finer[:1]


def label_durations(axis: Axis, low: float, high: float, *, at_most: int = 7) -> None:
    """Give a logarithmic axis of nanoseconds ticks such as "10ms".

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The axis.
    low, high : float
        Its ends.  [ns]
    at_most : int
        Number of ticks.
    """
    axis.set_major_locator(ticker.FixedLocator(duration_ticks(low, high, at_most=at_most)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda span, _: format_duration(round(span))))
    axis.set_minor_locator(ticker.NullLocator())


def label_ratios(axis: Axis, low: float, high: float) -> None:
    """Give a logarithmic axis of ratios round ticks: powers of two, or of ten where they are too many.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The axis.
    low, high : float
        Its ends.
    """
    wide = high / low > _MOST_OCTAVES
    axis.set_major_locator(
        ticker.LogLocator(base=10, numticks=8) if wide else ticker.FixedLocator(power_ticks(low, high))
    )
    axis.set_major_formatter(ticker.FuncFormatter(lambda ratio, _: f"{ratio:,.10g}"))
    axis.set_minor_locator(ticker.NullLocator())
