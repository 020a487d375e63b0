"""Names of snapshots: `VMName_SnapshotType_YYYYMMDD_HHMM_Purpose`, UTC.

Formatting and parsing are inverses: `_` inside a field is percent-escaped, and so is everything that a file
name, a ZFS or a libvirt name could stumble over.  Two snapshots of one minute get `-02`, `-03`, ...  A name
is for people: what a snapshot is comes from its metadata.
"""

import re
from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from snapsim.errors import PolicyError
from snapsim.policy.zones import EPOCH
from snapsim.types import SnapshotKind
from snapsim.units import MINUTE

_FIELD = r"(?:[A-Za-z0-9.~-]|%[0-9A-F]{2})"
_NAME = re.compile(
    rf"(?P<vm>{_FIELD}+)_(?P<kind>{'|'.join(SnapshotKind)})_(?P<time>\d{{8}}_\d{{4}})"
    rf"(?:_(?P<purpose>{_FIELD}+?))?(?:-(?P<serial>\d{{2,}}))?"
)
_SERIAL = re.compile(r"-(?=\d{2,}$)")


@dataclass(frozen=True)
class SnapshotName:
    """The fields of a snapshot's name.

    Attributes
    ----------
    vm : str
        Name of the virtual machine, or of the volume; not empty.
    time_ns : int
        When the snapshot was taken; a name holds it to the minute.  [ns]
    kind : SnapshotKind
        What it holds.
    purpose : str
        Why it was taken; may be empty.
    serial : int
        1, or higher where the name was taken already.
    schedule_class, policy, host : str
        What a user's template may write beside; the default template leaves them out.
    """

    vm: str
    time_ns: int
    kind: SnapshotKind = SnapshotKind.DISK
    purpose: str = ""
    serial: int = 1
    schedule_class: str = ""
    policy: str = ""
    host: str = ""


def format_name(name: SnapshotName, *, taken: Container[str] = ()) -> str:
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
        ASCII letters, digits and `. ~ - _ %` only; sorts by time for one virtual machine and kind.

    Raises
    ------
    PolicyError
        The virtual machine has no name, or a number is out of range.

    Examples
    --------
    >>> format_name(SnapshotName("db_1", 0, purpose="nightly"))
    'db%5F1_disk_19700101_0000_nightly'
    >>> format_name(SnapshotName("db", 0), taken={"db_disk_19700101_0000"})
    'db_disk_19700101_0000-02'
    """
    if not name.vm:
        raise PolicyError("name of a snapshot: the virtual machine's name is empty")
    if name.serial < 1:
        raise PolicyError(f"name of a snapshot: serial {name.serial} is not positive")
    while True:
        text = _write(name)
        if text not in taken:
            return text
        name = replace(name, serial=name.serial + 1)


def _write(name: SnapshotName) -> str:
    when = EPOCH + timedelta(minutes=name.time_ns // MINUTE)
    fields = [_escape(name.vm), name.kind.value, f"{when:%Y%m%d}", f"{when:%H%M}"]
    if name.purpose:
        # what looks like a serial number at the end of a purpose is not one
        fields.append(_SERIAL.sub("%2D", _escape(name.purpose)))
    return "_".join(fields) + (f"-{name.serial:02d}" if name.serial > 1 else "")


def _escape(text: str) -> str:
    return quote(text, safe="").replace("_", "%5F")


def parse_name(text: str) -> SnapshotName | None:
    """Read a snapshot's name.

    Parameters
    ----------
    text : str
        A name, perhaps somebody else's.

    Returns
    -------
    SnapshotName or None
        Its fields; None if `format_name` cannot have written it.

    Examples
    --------
    >>> parse_name("db%5F1_disk_19700101_0000_nightly").purpose
    'nightly'
    >>> parse_name("autosnap_2026-01-01_00:00:00_daily") is None
    True
    """
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    try:
        when = datetime.strptime(match["time"], "%Y%m%d_%H%M").replace(tzinfo=UTC)
        vm, purpose = (unquote(match[field] or "", errors="strict") for field in ("vm", "purpose"))
    except ValueError:
        return None
    name = SnapshotName(
        vm,
        (when - EPOCH) // timedelta(minutes=1) * MINUTE,
        SnapshotKind(match["kind"]),
        purpose,
        int(match["serial"] or 1),
    )
    # only one spelling is ours: "%41" for "A" or "-01" are not
    return name if _write(name) == text else None
