"""A listing's text, and the readings that every tool's listing needs: records, fields, times."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from snapsim.errors import PolicyError, UnitError, UsageError
from snapsim.policy.times import parse_instant
from snapsim.policy.zones import EPOCH, from_local
from snapsim.units import MICROSECOND, parse_size

_TIME = re.compile(
    r"(?P<clock>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:[.,](?P<fraction>\d{1,9})\d*)?"
    r"\s*(?P<offset>Z|[+-]\d\d(?::?\d\d)?)?"
)


class Moment(NamedTuple):
    """A point in time, and how far the clock that it was read from is ahead of UTC.

    Attributes
    ----------
    time_ns : int
        Nanoseconds since the Unix epoch, UTC.  [ns]
    offset_s : int or None
        The offset that is written beside the time; None if none is.  [s]
    """

    time_ns: int
    offset_s: int | None


@dataclass(frozen=True)
class Source:
    """The text of a listing.

    Attributes
    ----------
    path : str
        Where it comes from, for messages.
    text : str
        All of it.
    timezone : str
        IANA name of the zone of times that are written without one.
    """

    path: str
    text: str
    timezone: str = "UTC"

    @cached_property
    def json(self) -> Any:
        """The text as JSON; None if it is none."""
        if self.text.lstrip()[:1] not in {"[", "{"}:
            return None
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    def is_list_of(self, *keys: str, within: Any = None) -> bool:
        """Tell whether the JSON, or a part of it, is a filled list of objects that have certain keys."""
        records = self.json if within is None else within
        return (
            isinstance(records, list)
            and bool(records)
            and all(isinstance(record, dict) and record.keys() >= set(keys) for record in records)
        )

    @cached_property
    def lines(self) -> list[tuple[str, str]]:
        """Every line that is not blank, with its place ("line 3")."""
        numbered = enumerate(self.text.splitlines(), start=1)
        return [(f"line {number}", line) for number, line in numbered if line.strip()]

    def refusal(self, problem: str, *, where: str = "", field: str = "") -> UsageError:
        """Return the error for something that cannot be read."""
        places = [self.path, where, f"field {field!r}" if field else ""]
        return UsageError(f"{', '.join(place for place in places if place)}: {problem}")

    def records(self, values: Any, *, what: str = "snapshot") -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the objects of a JSON list, each with its place ("snapshot 3")."""
        if not isinstance(values, list):
            raise self.refusal(f"a list of {what}s is expected, and this is none: write it anew")
        for number, value in enumerate(values, start=1):
            where = f"{what} {number}"
            if not isinstance(value, dict):
                raise self.refusal("an object is expected: write the listing anew", where=where)
            yield where, value

    def string(self, record: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
        """Return a field that holds text."""
        value = record.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self.refusal(_expected("text", value), where=where, field=key)
        return value

    def integer(self, record: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
        """Return a field that holds a whole number."""
        value = record.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refusal(_expected("a whole number", value), where=where, field=key)
        return value

    def strings(self, record: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        """Return a field that holds a list of texts; one that is missing is an empty list."""
        value = record.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.refusal(_expected("a list of texts", value), where=where, field=key)
        return tuple(value)

    def moment(self, text: str, where: str, field: str) -> Moment:
        """Read an ISO 8601 time; one without a zone is local."""
        match = _TIME.fullmatch(text.strip())
        if not match:
            raise self.refusal(
                f"the time {text!r} cannot be read: it looks like 2026-01-31T12:00:00+01:00",
                where=where,
                field=field,
            )
        clock, fraction, offset = match["clock"], match["fraction"] or "", match["offset"]
        try:
            moment = datetime.fromisoformat(clock + (offset or ""))
            fraction_ns = int(fraction.ljust(9, "0"))
            if offset is None:
                return Moment(self._from_wall(moment, fraction_ns), None)
            distance = moment.utcoffset() or timedelta(0)
            return Moment(parse_instant(moment) + fraction_ns, round(distance.total_seconds()))
        except (ValueError, OverflowError, PolicyError) as error:
            raise self.refusal(
                f"the time {text!r} does not exist: {error}", where=where, field=field
            ) from None

    def local(self, text: str, formats: Sequence[str], where: str, field: str, *, remedy: str) -> int:
        """Read a local time that is written in one of several ways."""
        for pattern in formats:
            try:
                return self._from_wall(datetime.strptime(text, pattern), 0)  # noqa: DTZ007  local by design
            except (ValueError, OverflowError):
                continue
        raise self.refusal(f"the time {text!r} cannot be read: {remedy}", where=where, field=field)

    def size(self, text: str, where: str, field: str) -> int:
        """Read a number of bytes, with a unit or without."""
        try:
            return parse_size(text)
        except UnitError as error:
            raise self.refusal(str(error), where=where, field=field) from None

    def instant_s(self, value: int, where: str, field: str) -> int:
        """Turn seconds since the Unix epoch into nanoseconds."""
        try:
            return parse_instant(value * 1_000_000_000)
        except PolicyError as error:
            raise self.refusal(str(error), where=where, field=field) from None

    def _from_wall(self, moment: datetime, fraction_ns: int) -> int:
        shown = (moment.replace(tzinfo=EPOCH.tzinfo) - EPOCH) // timedelta(microseconds=1) * MICROSECOND
        local_ns = parse_instant(shown + fraction_ns)
        return int(from_local(self.timezone, np.array([local_ns], dtype=np.int64))[0])


def _expected(kind: str, value: object) -> str:
    if value is None:
        return f"{kind} is expected, and the field is missing: list with all fields"
    return f"{kind} is expected, and this is {str(value)[:60]!r}: write the listing anew"
