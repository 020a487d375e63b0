"""Files that are known not to be usable as traces, and why: pure functions of a file's start."""

import re
import struct
from collections.abc import Callable
from itertools import pairwise

from snapsim.traces.readers.base import sample_lines

_LFS = b"version https://git-lfs.github.com/spec/"
_ARCHIVES = ((b"PK\x03\x04", "zip"), (b"7z\xbc\xaf\x27\x1c", "7-Zip"), (b"Rar!\x1a\x07", "RAR"))
_TAR = "is a tar archive: unpack it and name the file in it, or the folder"
_TAR_NAME = re.compile(r"\.(tar(\.\w+)?|t[gxbz]z2?|tzst)$", re.IGNORECASE)
_SCIENTIFIC = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]{2}")
_FILETIME = re.compile(r"12[89][0-9]{15,16}|13[0-9]{16,17}")
_ORACLE = struct.Struct("<IQIq")
_NEVER = (-1, 2**63 - 1)


def refusal(head: bytes, name: str) -> str | None:
    """Return why a file cannot be a trace, or None.

    Parameters
    ----------
    head : bytes
        The first 64 KiB, decompressed.
    name : str
        Base name.

    Returns
    -------
    str or None
        What the file is and what to do, to follow the name of the file in a sentence.
    """
    return next((reason for check in _CHECKS if (reason := check(head, name))), None)


def late_refusal(head: bytes) -> str | None:
    """Return why a file that no reader recognises cannot be a trace, or None.

    A tar archive comes last, because real traces are known that have tar headers among their lines.
    """
    if head[257:262] == b"ustar":
        return _TAR
    if b"\0" not in head[:4096]:
        lines = [line.lower() for line in sample_lines(head, 3)]
        if lines and lines[0].lstrip().startswith(("<!doctype html", "<html")):
            return "is a web page, not a trace: the download went wrong"
    return None


def _empty(head: bytes, _name: str) -> str | None:
    return None if head.strip(b"\0 \t\r\n") else "is empty"


def _lfs_pointer(head: bytes, _name: str) -> str | None:
    if not head.startswith(_LFS):
        return None
    return "is a Git LFS pointer, not the trace itself: fetch the contents with `git lfs pull`"


def _archive(head: bytes, _name: str) -> str | None:
    kind = next((kind for magic, kind in _ARCHIVES if head.startswith(magic)), None)
    return kind and f"is a {kind} archive (or a spreadsheet): unpack it and name the trace in it"


def _tar(head: bytes, name: str) -> str | None:
    """An archive of one trace reads like that trace, with a line or two spoilt: so its name decides."""
    return _TAR if head[257:262] == b"ustar" and _TAR_NAME.search(name) else None


def _utf16(head: bytes, _name: str) -> str | None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "is UTF-16 text: convert it to UTF-8, for example with `iconv -f UTF-16 -t UTF-8`"
    return None


def _spreadsheet(head: bytes, _name: str) -> str | None:
    """Spreadsheets keep 15 digits and show 11: offsets become 1.82083E+11, filetimes end in 000."""
    if b"\0" in head:
        return None
    lines = sample_lines(head)
    end = "the digits are lost, so get the original file"
    for number, line in enumerate(lines, start=1):
        for field in re.split(r"[,;\t ]+", line):
            if _SCIENTIFIC.fullmatch(field):
                return (
                    f"was damaged by a spreadsheet: line {number} has {field} where a number belongs; {end}"
                )
    stamps = [line.split(",", 1)[0].strip() for line in lines]
    stamps = [stamp for stamp in stamps if _FILETIME.fullmatch(stamp)]
    # a clock of whole milliseconds makes longer runs of zeros: rounding to 15 digits makes just three
    coarse = sum(stamp.endswith("0000") for stamp in stamps)
    if len(stamps) >= 20 and coarse < len(stamps) / 2 and all(stamp.endswith("000") for stamp in stamps):
        return f"was damaged by a spreadsheet: its times were rounded to 15 digits (like {stamps[0]}); {end}"
    return None


def _oracle_general(head: bytes, name: str) -> str | None:
    """Records of 24 bytes: u32 seconds, u64 object, u32 size, i64 index of the next access."""
    whole = len(head) // _ORACLE.size
    if whole < 1 or b"\0" not in head:
        return None
    records = list(_ORACLE.iter_unpack(head[: whole * _ORACLE.size]))[:200]
    in_order = all(one[0] <= next_[0] for one, next_ in pairwise(records))
    real = all(0 < size < 1 << 30 for _, _, size, _ in records)
    later = all(index < at < 1 << 40 or at in _NEVER for index, (_, _, _, at) in enumerate(records))
    if not (in_order and real and later and (len(records) >= 3 or "oraclegeneral" in name.lower())):
        return None
    return ("is a libCacheSim oracleGeneral trace, which does not say what is read and what is written: "
            "use the trace that it was made from")  # fmt: skip


_CHECKS: tuple[Callable[[bytes, str], str | None], ...] = (
    _empty, _lfs_pointer, _archive, _tar, _utf16, _spreadsheet, _oracle_general,
)  # fmt: skip
