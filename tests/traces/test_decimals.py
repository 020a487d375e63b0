"""Decimal text becomes exact integers."""

from decimal import ROUND_FLOOR, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.traces.readers.base import OUT_OF_RANGE
from snapsim.traces.readers.decimals import decimals

WIDTH = "S40"
UNITS = (1, 100, 1_000, 1_000_000, 10**9)


def read(*texts, unit=10**9):
    values, bad = decimals(np.array([text.encode() for text in texts], WIDTH), unit)
    return [None if wrong else value for value, wrong in zip(values.tolist(), bad.tolist(), strict=True)]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9_223_372_035), st.text("0123456789", max_size=9), st.sampled_from(["", " "])
        ),
        min_size=1,
    ),
    st.sampled_from(UNITS),
)
def test_as_exact_as_decimal(parts, unit):
    texts = [
        f"{blank}{whole}.{fraction}{blank}" if fraction else f"{whole}" for whole, fraction, blank in parts
    ]
    expected = [int((Decimal(text.strip()) * unit).to_integral_value(ROUND_FLOOR)) for text in texts]
    assert read(*texts, unit=unit) == expected


def test_ten_digits_and_nine_decimals_keep_every_nanosecond():
    assert read("1456095145.133076001") == [1_456_095_145_133_076_001]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17", 17 * 10**9),
        (".5", 5 * 10**8),
        ("5.", 5 * 10**9),
        ("1.5e-05", 15_000),
        ("-0.25", -25 * 10**7),
        ("2E3", 2 * 10**12),
    ],
)
def test_other_ways_to_write_a_number(text, value):
    assert read(text) == [value]


@pytest.mark.parametrize(
    "text", ["", " ", ".", "1.2.3", "1 2", "abc", "0x10", "nan", "inf", "1e99", "1,5", "é"]
)
def test_what_is_no_number_is_said_to_be_none(text):
    assert read("1", text, "2") == [10**9, None, 2 * 10**9]


def test_what_does_not_fit_is_out_of_range():
    assert read("9300000000", "99999999999999999999999") == [OUT_OF_RANGE, OUT_OF_RANGE]
