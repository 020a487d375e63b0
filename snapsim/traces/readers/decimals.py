"""Decimal text to exact integers, a column at a time.

Ten digits of Unix seconds and nine decimals do not fit into a float: the text is taken digit by digit.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt

from snapsim.traces.readers.base import OUT_OF_RANGE
from snapsim.types import Int64Array

_INT64_MAX = int(np.iinfo(np.int64).max)
_POWERS = 10 ** np.arange(10, dtype=np.int64)
_DOT, _SPACE = ord("."), ord(" ")


def decimals(texts: npt.NDArray[np.bytes_], unit: int) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
    """Multiply decimal numbers in text by a unit, exactly.

    Parameters
    ----------
    texts : bytes array, shape (n,)
        Such as b"1456095145.133076000", b"0.5", b"17" or b"1.5e-05"; blanks around are allowed.
    unit : int
        At most 10^9, so that nine decimals of it are whole.

    Returns
    -------
    values : int64 array, shape (n,)
        text * unit, rounded down; `OUT_OF_RANGE` where that does not fit into 63 bits.
    bad : bool array, shape (n,)
        Where the text is no decimal number.
    """
    rows = np.ascontiguousarray(texts.view(np.uint8).reshape(len(texts), texts.dtype.itemsize).T)
    whole, fraction = np.zeros((2, len(texts)), np.int64)
    whole_digits, places = np.zeros((2, len(texts)), np.int8)
    dotted, ended, odd = np.zeros((3, len(texts)), bool)
    for row in rows:
        digit = row - np.uint8(48)
        is_digit = digit < 10
        is_dot = row == _DOT
        is_blank = (row == _SPACE) | (row == 0)
        odd |= ~(is_digit | is_dot | is_blank) | (is_dot & dotted) | (ended & ~is_blank)
        in_whole = is_digit & ~dotted
        whole = np.where(in_whole, whole * 10 + digit, whole)
        whole_digits += in_whole
        in_fraction = is_digit & dotted & (places < 9)
        fraction = np.where(in_fraction, fraction * 10 + digit, fraction)
        places += in_fraction
        dotted |= is_dot
        ended |= is_blank & ((whole_digits > 0) | dotted)
    fraction *= _POWERS[9 - places]
    odd |= (whole_digits + places == 0) | (whole_digits > 18)
    part = fraction * unit // 10**9
    too_large = whole > (_INT64_MAX - part) // unit
    values = np.where(too_large, OUT_OF_RANGE, np.where(too_large, 0, whole) * unit + part)
    for index in np.flatnonzero(odd):
        exact = _exactly(texts[index], unit)
        values[index] = 0 if exact is None else exact
        odd[index] = exact is None
    return values, odd


def _exactly(text: Any, unit: int) -> int | None:
    """Do the same for signs, exponents and very long numbers, one at a time."""
    try:
        number = Decimal(text.decode("ascii").strip())
        if not number.is_finite() or abs(number.adjusted()) > 40:
            return None
        value = int((number * unit).to_integral_value(rounding="ROUND_FLOOR"))
    except (InvalidOperation, UnicodeDecodeError):
        return None
    return value if -_INT64_MAX <= value <= _INT64_MAX else OUT_OF_RANGE
