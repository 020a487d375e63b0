"""Text as token positions: what vectorised readers stand on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.traces.readers.base import ReadLog
from snapsim.traces.readers.tokens import accept, tokenise, word

LINES = st.lists(st.text(st.sampled_from("ab1 \t0."), max_size=30), max_size=12)


@given(LINES, st.booleans())
def test_tokens_are_those_of_split(lines, final_newline):
    text = "\n".join(lines) + "\n" * final_newline
    expected = text.split("\n")
    if expected[-1] == "":
        expected.pop()
    tokens = tokenise(text.encode(), first_line=7)
    found = []
    for first, count in zip(tokens.first, tokens.counts, strict=True):
        spans = zip(tokens.start[first : first + count], tokens.stop[first : first + count], strict=True)
        found.append([tokens.data[start:stop].tobytes().decode() for start, stop in spans])
    assert found == [line.split() for line in expected]
    assert [tokens.text(row) for row in range(len(expected))] == expected
    assert tokens.line.tolist() == list(range(7, 7 + len(expected)))


@given(
    st.lists(st.one_of(st.integers(0, 2**64).map(str), st.text("0123456789abcxX-.", max_size=20)), min_size=1)
)
def test_integers_are_those_of_int(fields):
    tokens = tokenise("\n".join(f"- {field}" for field in fields).encode())
    for base, values, readable in ((10, *tokens.decimal(1)), (16, *tokens.hexadecimal(1))):
        for field, value, ok in zip(fields, values.tolist(), readable.tolist(), strict=True):
            digits = set("0123456789" if base == 10 else "0123456789abcdef")
            good = 0 < len(field) <= (18 if base == 10 else 15) and set(field) <= digits
            assert ok == good
            assert value == (int(field, base) if good else 0)


@given(st.lists(st.tuples(st.integers(0, 10**8), st.text("0123456789", max_size=12)), min_size=1))
@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000_000, 60_000_000_000])
def test_decimal_times_are_exact(unit, times):
    fields = [f"{whole}.{fraction}" if fraction else str(whole) for whole, fraction in times]
    values, readable = tokenise("\n".join(fields).encode()).time(0, unit=unit)
    assert readable.all()
    for (whole, fraction), value in zip(times, values.tolist(), strict=True):
        assert value == whole * unit + int(fraction[:9].ljust(9, "0")) * unit // 10**9


@pytest.mark.parametrize("field", ["", ".5", "1.2.3", "1,5", "-1.0", "1e3", "99999999999.0"])
def test_what_is_no_time_is_told(field):
    _, readable = tokenise(f"x {field}\n".encode()).time(1, unit=10**9)
    assert not readable.any()


@given(st.lists(st.text("abc/", min_size=1, max_size=30), min_size=1, max_size=20))
def test_distinct_fields_of_any_length(fields):
    tokens = tokenise("\n".join(fields).encode())
    codes, texts = tokens.distinct(0)
    assert [texts[code] for code in codes] == fields
    assert len(texts) == len(set(fields))


def test_a_field_that_is_not_there_is_empty():
    tokens = tokenise(b"a b\nc\n\nd e f\n")
    assert tokens.word(1).tolist() == [word(b"b"), 0, 0, word(b"e")]
    assert tokens.word(-2).tolist() == [word(b"a"), 0, 0, word(b"e")]
    assert tokens.word(0, skip=5).tolist() == [0, 0, 0, 0]


def test_nothing_at_all():
    tokens = tokenise(b"")
    values, readable = tokens.decimal(0)
    assert len(values) == len(readable) == len(tokens.line) == 0
    codes, texts = tokens.distinct(0)
    assert (len(codes), texts) == (0, [])
    assert tokenise(b"\n\n").word(0).tolist() == [0, 0]


def test_a_damaged_line_is_reported_once_and_only_some_are_quoted():
    lines = tokenise(b"".join(b"line %d\n" % number for number in range(50)))
    log = ReadLog(file="x")
    nothing = np.zeros(50, np.bool_)
    assert not accept(log, lines, ("first", nothing, "bad"), ("second", nothing, "worse")).any()
    assert log.dropped == 50
    assert str(log.drops[0]) == "x, line 1, first: bad: 'line 0'"
    assert {drop.field for drop in log.drops} == {"first"}
