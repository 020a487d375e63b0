"""Text split into tokens as NumPy positions: what lets the readers of odd text formats stay vectorised.

A block of whole lines becomes one byte array and, for each token, where it starts and stops.  Fields are then
read for all lines at once; a field that cannot be read is a False in a mask, never an exception, so that one
damaged line costs nothing to the others.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.traces.readers.base import MAX_EXAMPLES, ReadLog
from snapsim.traces.source import Source
from snapsim.types import Int64Array, UInt8Array

BoolArray = npt.NDArray[np.bool_]
WordArray = npt.NDArray[np.uint64]

_NEWLINE, _SPACE, _POINT = 10, 32, 46
_WORD = 8
_BAD_DIGIT = 255
# every value of up to 18 decimal digits fits into int64; of the longer ones no field of a disk trace is sane
_MAX_DIGITS = {10: 18, 16: 15}
# room behind the last byte, so that a window that starts at any token stays inside the array
_PADDING = 32
# how much of a damaged line a report quotes
_EXCERPT = 80
_BLOCK = 1 << 21
_INT64_MAX = 2**63 - 1
_DECIMALS = 9

_DIGIT = np.full(256, _BAD_DIGIT, np.uint8)
_DIGIT[np.frombuffer(b"0123456789", np.uint8)] = np.arange(10)
_DIGIT[np.frombuffer(b"abcdef", np.uint8)] = _DIGIT[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)


class Tokens(NamedTuple):
    """The tokens of a block of whole lines.

    Attributes
    ----------
    data : uint8 array
        The block's bytes, zero-padded.
    start, stop : int64 array, shape (n_tokens,)
        Each token's bytes are ``data[start:stop]``.
    begin, end : int64 array, shape (n_lines,)
        Each line's bytes are ``data[begin:end]``, without the newline.
    first : int64 array, shape (n_lines,)
        Index of each line's first token.
    counts : int64 array, shape (n_lines,)
        Number of tokens in each line.
    line : int64 array, shape (n_lines,)
        Line numbers in the file, from 1.
    """

    data: UInt8Array
    start: Int64Array
    stop: Int64Array
    begin: Int64Array
    end: Int64Array
    first: Int64Array
    counts: Int64Array
    line: Int64Array

    def rows(self, keep: BoolArray) -> "Tokens":
        """Only some of the lines (the tokens stay)."""
        lines = {name: getattr(self, name)[keep] for name in ("begin", "end", "first", "counts", "line")}
        return self._replace(**lines)

    def field(self, position: int, *, skip: int | Int64Array = 0) -> tuple[Int64Array, Int64Array]:
        """Where a field of every line starts and stops.

        Parameters
        ----------
        position : int
            Which token of the line; negative counts from the right.  A line that has no such token gives an
            empty field.
        skip : int or int64 array
            Bytes to leave out in front, such as those of ``offset=0x``.

        Returns
        -------
        start, stop : int64 array, shape (n_lines,)
            Positions in `data`.
        """
        if len(self.start) == 0:
            empty = np.zeros(len(self.first), np.int64)
            return empty, empty
        present = self.counts >= (position + 1 if position >= 0 else -position)
        token = np.where(present, self.first + position + (self.counts if position < 0 else 0), 0)
        stop = np.where(present, self.stop[token], 0)
        return np.minimum(np.where(present, self.start[token], 0) + skip, stop), stop

    def decimal(self, position: int, *, skip: int | Int64Array = 0) -> tuple[Int64Array, BoolArray]:
        """Read a decimal field of every line: the values, and where they could be read."""
        return integers(self.data, *self.field(position, skip=skip))

    def hexadecimal(self, position: int, *, skip: int | Int64Array = 0) -> tuple[Int64Array, BoolArray]:
        """Read a hexadecimal field of every line: the values, and where they could be read."""
        return integers(self.data, *self.field(position, skip=skip), base=16)

    def time(self, position: int, *, unit: int) -> tuple[Int64Array, BoolArray]:
        """Read a decimal time of every line: nanoseconds, and where they could be read."""
        return decimal_times(self.data, *self.field(position), unit=unit)

    def distinct(self, position: int) -> tuple[Int64Array, list[str]]:
        """Tell which different texts a field has, and which line has which.

        Parameters
        ----------
        position : int
            Which token of the line.

        Returns
        -------
        codes : int64 array, shape (n_lines,)
            Each line's index into `texts`.
        texts : list of str
            The different texts.
        """
        start, stop = self.field(position)
        codes, one = np.zeros(len(start), np.int64), np.zeros(min(len(start), 1), np.int64)
        for skip in range(0, int((stop - start).max(initial=0)), _WORD):
            part = words(self.data, np.minimum(start + skip, stop), stop)
            if (part != part[0]).any():
                _, part_codes = np.unique(part, return_inverse=True)
                _, one, codes = np.unique(
                    codes * len(part) + part_codes, return_index=True, return_inverse=True
                )
        spans = zip(start[one].tolist(), stop[one].tolist(), strict=True)
        return codes, [self.data[begin:end].tobytes().decode("utf-8", "replace") for begin, end in spans]

    def word(self, position: int, *, skip: int | Int64Array = 0) -> WordArray:
        """Return the first eight bytes of a field of every line, to compare with `word`."""
        return words(self.data, *self.field(position, skip=skip))

    def digits(self, start: Int64Array, size: int) -> UInt8Array:
        """Return the values of `size` hexadecimal digits from each `start` on; 255 for what is no digit."""
        values: UInt8Array = _DIGIT[self.data[start[:, np.newaxis] + np.arange(size)]]
        return values

    def holds(self, byte: int) -> BoolArray:
        """Tell which lines hold a byte."""
        places = np.flatnonzero(self.data == byte)
        return np.searchsorted(places, self.begin) < np.searchsorted(places, self.end)

    def text(self, row: int) -> str:
        """One line as text, without its line end."""
        return self.data[self.begin[row] : self.end[row]].tobytes().decode("utf-8", "replace").rstrip("\r")


def tokenise(block: bytes, *, first_line: int = 1, separators: bytes = b"") -> Tokens:
    """Split a block of whole lines into tokens.

    Parameters
    ----------
    block : bytes
        Whole lines; the last one may lack its newline.
    first_line : int
        Number of the block's first line in the file.
    separators : bytes
        Bytes that part tokens besides white space and control characters.

    Returns
    -------
    Tokens
        Every line of the block, empty ones included.
    """
    data = np.zeros(len(block) + _PADDING, np.uint8)
    data[: len(block)] = np.frombuffer(block, np.uint8)
    inked = np.zeros(len(block) + 2, np.bool_)
    np.greater(data[: len(block)], _SPACE, out=inked[1:-1])
    for separator in separators:
        inked[1:-1] &= data[: len(block)] != separator
    edges = np.flatnonzero(inked[1:] != inked[:-1])
    start, stop = edges[::2], edges[1::2]
    ends = np.flatnonzero(data[: len(block)] == _NEWLINE)
    if block and not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    # the first token of a line is the first one that starts after the previous line's end
    bounds = np.searchsorted(start, ends)
    first = np.concatenate(([0], bounds[:-1])) if len(ends) else np.zeros(0, np.int64)
    line = np.arange(first_line, first_line + len(ends), dtype=np.int64)
    begin = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else np.zeros(0, np.int64)
    return Tokens(data, start, stop, begin, ends, first, bounds - first, line)


def blocks(source: Source, log: ReadLog, *, separators: bytes = b"") -> Iterator[Tokens]:
    """Yield the lines of a text file, blank ones left out, in blocks that fit into the processor's cache."""
    for first_line, block in source.chunks(_BLOCK):
        lines = tokenise(block, first_line=first_line, separators=separators)
        inked = lines.counts > 0
        log.skip(int((~inked).sum()), "blank line")
        yield lines if inked.all() else lines.rows(inked)


def integers(
    data: UInt8Array, start: Int64Array, stop: Int64Array, *, base: int = 10
) -> tuple[Int64Array, BoolArray]:
    """Read unsigned integers.

    Parameters
    ----------
    data : uint8 array
        Bytes.
    start, stop : int64 array, shape (n,)
        Where each number lies.
    base : int
        10 or 16.

    Returns
    -------
    values : int64 array, shape (n,)
        The numbers; 0 where they cannot be read.
    readable : bool array, shape (n,)
        False where the field is empty, holds anything but digits, or is too long for int64.
    """
    size = stop - start
    values = np.zeros(len(start), np.int64)
    readable = (size > 0) & (size <= _MAX_DIGITS[base])
    longest = int(size.max(initial=0, where=readable))
    for position in range(longest):
        here = position < size
        digit = _DIGIT[data[np.where(here, start + position, 0)]]
        readable &= ~here | (digit < base)
        values = np.where(here, values * base + digit, values)
    return np.where(readable, values, 0), readable


def decimal_times(
    data: UInt8Array, start: Int64Array, stop: Int64Array, *, unit: int
) -> tuple[Int64Array, BoolArray]:
    """Read times such as ``12.000011950`` exactly.

    Parameters
    ----------
    data : uint8 array
        Bytes.
    start, stop : int64 array, shape (n,)
        Where each number lies.
    unit : int
        What 1 stands for.  [ns]

    Returns
    -------
    nanoseconds : int64 array, shape (n,)
        The times; digits after the ninth decimal are cut off.  [ns]
    readable : bool array, shape (n,)
        False where the field is no decimal number or is too large for int64.
    """
    point = stop.copy()
    for position in range(int((stop - start).max(initial=0)) - 1, -1, -1):
        here = start + position
        point = np.where((here < stop) & (data[np.minimum(here, len(data) - 1)] == _POINT), here, point)
    whole, readable = integers(data, start, point)
    fraction_end = np.minimum(stop, point + 1 + _DECIMALS)
    digits = np.clip(fraction_end - point - 1, 0, _DECIMALS)
    fraction, exact = integers(data, fraction_end - digits, fraction_end)
    readable &= (exact | (digits == 0)) & (whole < _INT64_MAX // unit)
    # in lowest terms, so that 999,999,999 times the unit stays below 2^63
    numerator, denominator = Fraction(unit, 10**_DECIMALS).as_integer_ratio()
    billionths = fraction * 10 ** (_DECIMALS - digits)
    return np.where(readable, whole * unit + billionths * numerator // denominator, 0), readable


def words(data: UInt8Array, start: Int64Array, stop: Int64Array) -> WordArray:
    """Return up to eight bytes of each token as one number, to be compared with `word`."""
    windows = np.lib.stride_tricks.sliding_window_view(data, _WORD)[start]
    packed = np.ascontiguousarray(windows).view("<u8").reshape(len(start)).astype(np.uint64)
    unused = np.uint64(8) * (_WORD - np.clip(stop - start, 0, _WORD)).astype(np.uint64)
    # numpy leaves a shift by all 64 bits undefined: shift by at most 63 and blank the empty ones
    mask = np.uint64(2**64 - 1) >> np.minimum(unused, np.uint64(63))
    return np.where(stop > start, packed & mask, np.uint64(0))


def word(text: bytes) -> np.uint64:
    """Return the number that `words` gives for tokens whose first eight bytes are those of `text`."""
    return np.uint64(int.from_bytes(text[:_WORD], "little"))


def word_in(codes: WordArray, texts: Iterable[bytes]) -> BoolArray:
    """Tell which of `codes` (from `words`) belong to one of `texts`."""
    return np.isin(codes, np.array([word(text) for text in texts], np.uint64))


def accept(log: ReadLog, lines: Tokens, *checks: tuple[str, BoolArray, str]) -> BoolArray:
    """Drop the damaged lines: each is reported once, with the first of its fields that cannot be read.

    Parameters
    ----------
    log : ReadLog
        Takes what was dropped.
    lines : Tokens
        The lines in question.
    *checks : tuple of str, bool array and str
        A field's name, where it is as it should be, and what is wrong where it is not.

    Returns
    -------
    bool array, shape (n_lines,)
        Which lines passed every check.
    """
    good = np.ones(len(lines.line), np.bool_)
    for field, passed, reason in checks:
        bad = np.flatnonzero(good & ~passed)
        for row in bad[:MAX_EXAMPLES].tolist():
            log.drop(int(lines.line[row]), field, f"{reason}: {lines.text(row)[:_EXCERPT]!r}")
        log.drop_rows(lines.line[bad[MAX_EXAMPLES:]], field, reason)
        good &= passed
    return good
