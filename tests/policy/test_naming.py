"""Names of snapshots: writing and reading are inverses, and foreign names are never claimed."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy import SnapshotName, format_name, parse_name
from snapsim.types import SnapshotKind
from snapsim.units import DAY, MINUTE, SECOND

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.from_regex(
    r"[a-z_%-]*-?\d{0,3}", fullmatch=True
)
names = st.builds(
    SnapshotName,
    vm=texts.filter(bool),
    time_ns=st.integers(-(2**63) // MINUTE + 1, (2**63 - 1) // MINUTE).map(lambda minutes: minutes * MINUTE),
    kind=st.sampled_from(SnapshotKind),
    purpose=texts,
    serial=st.integers(1, 200),
)


@given(names)
@example(SnapshotName("a_b", 0, purpose="before-02"))
@example(SnapshotName("a-02", 0, purpose="-02", serial=2))
@example(SnapshotName("%5F", 0, purpose="x%2D02"))
def test_reading_inverts_writing(name):
    assert parse_name(format_name(name)) == name


@given(names)
def test_names_are_safe_everywhere(name):
    text = format_name(name)
    assert re.fullmatch(r"[A-Za-z0-9.~_%-]+", text)
    assert 4 <= len(text.split("_")) <= 5


@given(
    st.text(max_size=60)
    | st.from_regex(r"[a-z%-]{1,4}_disk_20240[0-9]{3}_[0-9]{4}(_[a-z%-]*)?(-[0-9]{1,3})?", fullmatch=True)
)
@example("db_disk_20240101_0000_%41")
@example("db_disk_20240101_0000-01")
@example("db_disk_20240101_0000-002")
@example("db_disk_20240231_0000")
@example("db_disk_20240101_2400")
@example("db_tape_20240101_0000")
@example("db_disk_20240101_0000_%ff")
@example("db_disk_20240101_0000_")
@example("_disk_20240101_0000")
def test_what_is_read_is_what_would_be_written(text):
    """So a name that is not ours to the letter is nobody of ours."""
    name = parse_name(text)
    assert name is None or format_name(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "autosnap_2026-01-01_00:00:00_daily",
        "db_disk_20240101_0000_%41",
        "db_disk_20240101_0000-01",
        "db_disk_20240101_0000-002",
        "db_disk_20240231_0000",
        "db_disk_20240101_2400",
        "db_tape_20240101_0000",
        "db_disk_20240101_0000_%FF",
        "db_disk_20240101_0000_",
        "_disk_20240101_0000",
        "db_disk_20240101_0000\n",
    ],
)
def test_foreign_names(text):
    assert parse_name(text) is None


def test_the_template():
    assert format_name(
        SnapshotName("web01", 19_000 * DAY + 90 * SECOND, SnapshotKind.FULL, "before upgrade")
    ) == ("web01_full_20220108_0001_before%20upgrade")


def test_collisions_are_numbered():
    taken = set()
    for _ in range(12):
        taken.add(format_name(SnapshotName("db", 0, purpose="auto"), taken=taken))
    assert sorted(taken)[:3] == [f"db_disk_19700101_0000_auto{serial}" for serial in ("", "-02", "-03")]
    assert {parse_name(text).serial for text in taken} == set(range(1, 13))


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=10))
def test_names_of_one_machine_sort_by_time(minutes):
    written = [format_name(SnapshotName("db", minute * MINUTE)) for minute in minutes]
    assert sorted(written) == [format_name(SnapshotName("db", minute * MINUTE)) for minute in sorted(minutes)]


def test_what_cannot_be_a_name():
    with pytest.raises(PolicyError, match="the virtual machine's name is empty"):
        format_name(SnapshotName("", 0))
    with pytest.raises(PolicyError, match="serial 0 is not positive"):
        format_name(SnapshotName("db", 0, serial=0))
