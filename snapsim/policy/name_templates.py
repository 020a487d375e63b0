"""Names of snapshots by a user's template: `snapsim_{utc:%Y%m%dT%H%M%SZ}_{class}`.

What a template writes it reads back, and nothing else: inside a field every character that is not a letter,
a digit or `-` becomes `.XX` (a byte in hexadecimal), so that `_`, `:` and their like only ever come from the
template and cut a name into its fields.  A template that could not be read back, would not say the time, or
that a driver would refuse, is refused when it is made.
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from snapsim.errors import PolicyError
from snapsim.policy import zones
from snapsim.policy.name_limits import DRIVERS
from snapsim.policy.naming import SnapshotName, format_name, parse_name
from snapsim.types import SnapshotKind
from snapsim.units import MICROSECOND, MINUTE, SECOND

DEFAULT_TEMPLATE = "VMName_SnapshotType_YYYYMMDD_HHMM_Purpose"
"""The template of `format_name` and `parse_name`, which escape with `%XX`."""


class Naming(Protocol):
    """How names are written and read."""

    def format(self, name: SnapshotName, *, taken: Container[str] = ()) -> str:
        """Write a name that is not taken."""

    def parse(self, text: str) -> SnapshotName | None:
        """Read a name; None if it is not one of these."""


class DefaultNaming:
    """`VMName_SnapshotType_YYYYMMDD_HHMM_Purpose`: see `format_name` and `parse_name`."""

    def format(self, name: SnapshotName, *, taken: Container[str] = ()) -> str:
        """See `format_name`."""
        return format_name(name, taken=taken)

    def parse(self, text: str) -> SnapshotName | None:
        """See `parse_name`."""
        return parse_name(text)


def naming(
    template: str = DEFAULT_TEMPLATE, *, timezone: str = "UTC", drivers: Any = tuple(DRIVERS)
) -> Naming:
    """Return how a template writes and reads names.

    Parameters
    ----------
    template : str
        `DEFAULT_TEMPLATE`, or one with fields: see `NameTemplate`.
    timezone : str
        IANA name of the zone of `{local:...}`.
    drivers : tuple of str
        The drivers that have to accept its names.

    Returns
    -------
    Naming
        Its methods `format` and `parse`.

    Raises
    ------
    PolicyError
        The template is unfit; the message says why, and what to write.
    """
    if template == DEFAULT_TEMPLATE:
        return DefaultNaming()
    return NameTemplate(template, timezone=timezone, drivers=tuple(drivers))


class _Field(NamedTuple):
    pattern: str
    attribute: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _escape(text: str) -> str:
    return "".join(
        chr(byte) if chr(byte) in _PLAIN else f".{byte:02X}" for byte in text.encode("utf-8", "strict")
    )


def _unescape(text: str) -> str:
    return re.sub(
        rb"\.([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode("ascii")
    ).decode("utf-8", "strict")


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")
_TEXT = r"(?:[A-Za-z0-9-]|\.[0-9A-F]{2})*"
_INSIDE = frozenset(_PLAIN | {"."})  # what can stand inside a field; everything else separates

_FIELDS: Mapping[str, _Field] = {
    **{
        key: _Field(_TEXT, attribute, _escape, _unescape)
        for key, attribute in {
            "vm": "vm",
            "purpose": "purpose",
            "class": "schedule_class",
            "policy": "policy",
            "host": "host",
        }.items()
    },
    "kind": _Field("|".join(SnapshotKind), "kind", lambda kind: str(kind.value), SnapshotKind),
    "serial": _Field(r"\d{2,}", "serial", lambda serial: f"{serial:02d}", int),
    "number": _Field(r"[1-9]\d*", "serial", str, int),
}

_DIRECTIVES = {
    "Y": r"\d{4}", "m": r"\d{2}", "d": r"\d{2}", "j": r"\d{3}", "H": r"\d{2}", "M": r"\d{2}",
    "S": r"\d{2}", "f": r"\d{6}", "z": r"[+-]\d{4}",
}  # fmt: skip
_SHORT = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S"}
_ORDERS = re.compile(r"(Ymd|Yj)HM(Sf?)?z?")
_VARIABLE = "\0"
_PART = re.compile(r"\{(?P<field>[^{}]*)\}|(?P<literal>[^{}]+)")
_SUFFIX = re.compile(r"-(?=\d{2,}$)")


@dataclass(frozen=True)
class NameTemplate:
    """A template for the names of snapshots.

    Fields are `{vm}`, `{host}`, `{policy}`, `{class}`, `{purpose}`, `{kind}`, `{serial}` (01, 02, ...) or
    `{number}` (1, 2, ...), and the time: `{utc:...}` or `{local:...}` with `%Y %m %d %j %H %M %S %f %z %F %T`
    in this order.  A local time ends with its offset `%z`, because the clock shows an hour twice in autumn.
    Without `{serial}` and `{number}` a name that is taken gets `-02`, `-03`, ... at its end.

    Attributes
    ----------
    text : str
        As it was written.
    timezone : str
        IANA name of the zone of `{local:...}`.
    drivers : tuple of str
        The drivers that have to accept its names: keys of `DRIVERS`.

    Raises
    ------
    PolicyError
        It could not be read back, does not say the time to the minute, or a driver would refuse it.

    Examples
    --------
    >>> template = NameTemplate("snapsim_{utc:%Y%m%dT%H%M%SZ}_{class}")
    >>> template.format(SnapshotName("db", 0, schedule_class="daily"))
    'snapsim_19700101T000000Z_daily'
    >>> template.parse("snapsim_19700101T000000Z_daily").schedule_class
    'daily'
    """

    text: str
    timezone: str = "UTC"
    drivers: tuple[str, ...] = tuple(DRIVERS)

    def __post_init__(self) -> None:
        """Refuse what could not be read back, sorted, or taken by a driver."""
        zones.zone(self.timezone)
        for driver in self.drivers:
            if driver not in DRIVERS:
                raise self._error(f"driver {driver!r} is not known", f"the drivers are {', '.join(DRIVERS)}")
        self._check_fields()
        self._check_time()
        self._check_separators()
        self._check_characters()

    def _error(self, what: str, remedy: str) -> PolicyError:
        return PolicyError(f"name template {self.text!r}: {what}: {remedy}")

    @cached_property
    def _parts(self) -> tuple[tuple[str, str], ...]:
        """Kind ("literal", "utc", "local" or a field's key) and text of each part."""
        parts, end = [], 0
        for match in _PART.finditer(self.text):
            if match.start() != end:
                break
            end = match.end()
            if match["literal"] is not None:
                parts.append(("literal", match["literal"]))
                continue
            key, _, form = match["field"].partition(":")
            for short, long in _SHORT.items():
                form = form.replace(short, long)
            parts.append((key, form))
        if end != len(self.text) or not parts:
            raise self._error("its braces do not match", "write fields like {vm} and {utc:%Y%m%dT%H%MZ}")
        return tuple(parts)

    @cached_property
    def _times(self) -> str:
        """The directives of its time fields, in order: "YmdHM"."""
        forms = "".join(form for key, form in self._parts if key in {"utc", "local"})
        return "".join(re.findall(r"%(.?)", forms))

    @cached_property
    def _clock(self) -> str:
        """Either "utc" or "local"."""
        return next((key for key, _ in self._parts if key in {"utc", "local"}), "")

    def _check_fields(self) -> None:
        seen: set[str] = set()
        for key, form in self._parts:
            if key == "literal":
                continue
            if key in {"utc", "local"}:
                for directive in re.findall(r"%(.?)", form):
                    if directive not in _DIRECTIVES:
                        raise self._error(
                            f"{{{key}:...}} has %{directive}",
                            "%Y %m %d %j %H %M %S %f %z %F %T have a fixed width and can be read back",
                        )
                if not form:
                    raise self._error(f"{{{key}}} has no format", f"write {{{key}:%Y%m%dT%H%M%S}}")
                continue
            if key not in _FIELDS:
                raise self._error(
                    f"field {{{key}}} is not known",
                    f"the fields are {', '.join(_FIELDS)}, utc:... and local:...",
                )
            if form:
                raise self._error(
                    f"{{{key}:{form}}} has a format", f"only times have one, so write {{{key}}}"
                )
            attribute = _FIELDS[key].attribute
            if attribute in seen:
                raise self._error(f"{{{key}}} says again what a field before it says", "leave it out")
            seen.add(attribute)

    def _check_time(self) -> None:
        clocks = {key for key, _ in self._parts} & {"utc", "local"}
        if not clocks:
            raise self._error("it has no time", "add {utc:%Y%m%dT%H%MZ}")
        if len(clocks) > 1:
            raise self._error("it has UTC and local time", "use one of them")
        if not _ORDERS.fullmatch(self._times):
            if set("YHM") - set(self._times) or not (
                {"j"} <= set(self._times) or {*"md"} <= set(self._times)
            ):
                raise self._error(
                    "its time is not known to the minute",
                    "write year, month, day, hour and minute: %Y%m%dT%H%M",
                )
            raise self._error(
                "its time has another order than year, month, day, hour, minute, second, offset",
                "names sort by time only in this order: %Y%m%dT%H%M%S",
            )
        if "local" in clocks and not self._times.endswith("z"):
            raise self._error(
                "its local time has no offset, and the clock shows an hour twice in autumn",
                "end it with %z, or use {utc:...}",
            )
        if "utc" in clocks and "z" in self._times:
            raise self._error("the offset of UTC says nothing", "write Z in place of %z")

    @cached_property
    def _atoms(self) -> tuple[str, ...]:
        """Its shape: literal characters, "9" for a digit, `_VARIABLE` for what has no fixed width."""
        atoms: list[str] = []
        for key, form in self._parts:
            if key == "literal":
                atoms += form
            elif key in _FIELDS:
                atoms.append(_VARIABLE)
            else:
                atoms += re.sub(r"%.", "9", form)
        return tuple(atoms)

    @cached_property
    def _last_run(self) -> str:
        """The shape after the last separator."""
        return re.split(rf"[^A-Za-z0-9.{_VARIABLE}-]", "".join(self._atoms))[-1]

    def _check_separators(self) -> None:
        run: list[str] = []
        for key, form in self._parts:
            if key in _FIELDS:
                run.append(key)
                if len(run) > 1:
                    raise self._error(
                        f"{{{run[0]}}} and {{{run[1]}}} cannot be told apart when the name is read",
                        "put '_' between them (a field never contains it, but may contain '-')",
                    )
            elif any(char not in _INSIDE for char in _literally(key, form)):
                run = []

    def _check_characters(self) -> None:
        written = [_literally(key, form) for key, form in self._parts if key not in _FIELDS]
        if "z" in self._times:
            written.append("+")
        for driver in self.drivers:
            for char in "".join(written):
                if re.fullmatch(f"[{DRIVERS[driver].characters}]", char):
                    continue
                why = "that %z writes " if char == "+" and "z" in self._times else ""
                raise self._error(
                    f"{driver} does not allow the {char!r} {why}in a name",
                    "leave it out, use {utc:...}, or say with drivers=... which drivers there are",
                )
            if _VARIABLE not in self._atoms and re.fullmatch(DRIVERS[driver].refused, "".join(self._atoms)):
                raise self._error(
                    f"{driver} would refuse its names ({DRIVERS[driver].note})",
                    "begin it with a word, such as 'snapsim_'",
                )

    @property
    def resolution_ns(self) -> int:
        """How exactly a name holds the time.  [ns]"""
        return MICROSECOND if "f" in self._times else SECOND if "S" in self._times else MINUTE

    @property
    def sortable(self) -> bool:
        """Whether names with the same fields before the time sort by time: local time does not in autumn."""
        return self._clock == "utc"

    @property
    def _counted(self) -> bool:
        return any(key in {"serial", "number"} for key, _ in self._parts)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pieces: list[str] = []
        for key, form in self._parts:
            if key == "literal":
                pieces.append(re.escape(form))
            elif key in _FIELDS:
                pieces.append(f"(?P<{key}>{_FIELDS[key].pattern})")
            else:
                cut = re.split(r"%(.)", form)
                for index, piece in enumerate(cut):
                    pieces.append(
                        f"(?P<time_{piece}>{_DIRECTIVES[piece]})" if index % 2 else re.escape(piece)
                    )
        if not self._counted:
            # What a field at the end could mistake for a serial number has its `-` escaped: see _protect.
            body = "".join(pieces)
            return re.compile(rf"(?:{body}-(?P<suffix>\d{{2,}})|{_renamed(body)})", re.ASCII)
        return re.compile("".join(pieces), re.ASCII)

    def project(self, name: SnapshotName) -> SnapshotName:
        """Return what is left of a name's fields when it is written and read.

        Parameters
        ----------
        name : SnapshotName
            Its fields.

        Returns
        -------
        SnapshotName
            Fields that the template does not write are empty; the time is cut to its resolution.
        """
        kept = {_FIELDS[key].attribute for key, _ in self._parts if key in _FIELDS}
        values = {attribute: getattr(name, attribute) for attribute in kept}
        time_ns = name.time_ns // self.resolution_ns * self.resolution_ns
        return SnapshotName(**{"vm": "", "time_ns": time_ns, "serial": name.serial, **values})

    def format(self, name: SnapshotName, *, taken: Container[str] = ()) -> str:
        """Write a snapshot's name.

        Parameters
        ----------
        name : SnapshotName
            Its fields.
        taken : container of str
            Names that exist; the result is not among them.

        Returns
        -------
        str
            The name; every driver of the template accepts it.

        Raises
        ------
        PolicyError
            The name would be too long, begin with something that a driver refuses, or holds no valid text.
        """
        if name.serial < 1:
            raise PolicyError(f"name of a snapshot: serial {name.serial} is not positive")
        while True:
            text = self._write(name)
            if text not in taken:
                break
            name = replace(name, serial=name.serial + 1)
        for driver in self.drivers:
            self._accepted(text, driver)
        return text

    def _accepted(self, text: str, driver: str) -> None:
        limits = DRIVERS[driver]
        if len(text) > limits.most_bytes:
            raise PolicyError(
                f"name of a snapshot {text[:40] + '...'!r} has {len(text)} bytes, and {driver} allows "
                f"{limits.most_bytes}: shorten the template or its fields"
            )
        if re.fullmatch(limits.refused, text):
            raise PolicyError(
                f"name of a snapshot {text!r} is refused by {driver} ({limits.note}): "
                "begin the template with a word, such as 'snapsim_'"
            )

    def room(self, driver: str, *, around: int = 0) -> int:
        """Return how long a name may be beside what else counts.

        Parameters
        ----------
        driver : str
            Key of `DRIVERS`.
        around : int
            What is written around it: for ZFS the dataset's name and `@`, for a file its suffix.  [bytes]

        Returns
        -------
        int
            Longest name; not negative.  [bytes]
        """
        return max(DRIVERS[driver].most_bytes - around, 0)

    def _write(self, name: SnapshotName) -> str:
        return "".join(self._pieces(name))

    def _pieces(self, name: SnapshotName) -> Iterator[str]:
        local = self._local(name.time_ns)
        last = max((i for i, (key, _) in enumerate(self._parts) if key in _FIELDS), default=-1)
        for number, (key, form) in enumerate(self._parts):
            if key == "literal":
                yield form
            elif key in _FIELDS:
                try:
                    text = _FIELDS[key].write(getattr(name, _FIELDS[key].attribute))
                except UnicodeEncodeError:
                    raise PolicyError(
                        f"name of a snapshot: {{{key}}} holds text that is not Unicode"
                    ) from None
                yield self._protect(text) if number == last and not self._counted else text
            else:
                yield local.strftime(form)
        if name.serial > 1 and not self._counted:
            yield f"-{name.serial:02d}"

    def _protect(self, text: str) -> str:
        """Escape what could be taken for a serial number at the name's end."""
        run = self._last_run
        if _VARIABLE not in run:
            return text
        return _SUFFIX.sub(".2D", text) if run.endswith(_VARIABLE) else text.replace("-", ".2D")

    def _local(self, time_ns: int) -> datetime:
        moment = zones.EPOCH + timedelta(
            microseconds=time_ns // self.resolution_ns * self.resolution_ns // 1000
        )
        if self._clock == "utc":
            return moment
        local = moment.astimezone(zones.zone(self.timezone))
        offset = local.utcoffset() or timedelta()
        if offset % timedelta(minutes=1):
            raise PolicyError(
                f"name of a snapshot: {self.timezone} was {offset} from UTC in {moment.year}, "
                "which %z cannot say in minutes: use {utc:...}"
            )
        return local

    def parse(self, text: str) -> SnapshotName | None:
        """Read a snapshot's name.

        Parameters
        ----------
        text : str
            A name, perhaps somebody else's.

        Returns
        -------
        SnapshotName or None
            Its fields; None if `format` cannot have written it.
        """
        match = self._pattern.fullmatch(text)
        if match is None:
            return None
        plain = "suffix" in match.re.groupindex and match["suffix"] is None
        found = {
            key.removesuffix("_") if plain else key: value
            for key, value in match.groupdict().items()
            if value is not None
        }
        try:
            values = {
                field.attribute: field.read(found[key]) for key, field in _FIELDS.items() if key in found
            }
            values.setdefault("serial", int(found.get("suffix", 1)))
            name = SnapshotName(**{"vm": "", "time_ns": _moment(found), **values})
            # only one spelling is ours, and only one offset is the zone's
            return name if self.format(name) == text else None
        except (
            ValueError,
            OverflowError,
        ):  # PolicyError is a ValueError: what would not be written is not ours
            return None


def _literally(key: str, form: str) -> str:
    """Return what stands in every name: all of a literal, and of a time what is no directive."""
    return form if key == "literal" else re.sub(r"%.", "", form)


def _renamed(body: str) -> str:
    """Return a pattern with its groups renamed, so that it can stand beside itself."""
    return re.sub(r"\(\?P<(\w+)>", r"(?P<\1_>", body)


def _moment(found: Mapping[str, str]) -> int:
    """Return the time that a name says, in nanoseconds since the Unix epoch."""
    year, month, day, hour, minute, second, micro = (
        int(found.get(f"time_{directive}", start))
        for directive, start in zip("YmdHMSf", (0, 1, 1, 0, 0, 0, 0), strict=True)
    )
    moment = datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC)
    if "time_j" in found:
        moment += timedelta(days=int(found["time_j"]) - 1)
    offset = found.get("time_z", "+0000")
    away = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
    time_ns = (
        (moment - zones.EPOCH + (-away if offset[0] == "+" else away)) // timedelta(microseconds=1) * 1000
    )
    if not -(2**63) < time_ns < 2**63:
        msg = "out of range"
        raise OverflowError(msg)
    return time_ns
