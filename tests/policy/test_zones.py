"""Wall clocks of whole arrays against `zoneinfo`, one moment at a time."""

import zoneinfo
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy import zones
from snapsim.policy.reference import _first_showing
from snapsim.units import DAY, HOUR, SECOND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = sorted(zoneinfo.available_timezones() - {"localtime"})
YEAR_1900, YEAR_2100 = -2_208_988_800, 4_102_444_800

seconds = st.integers(YEAR_1900, YEAR_2100)
names = st.sampled_from(NAMES) | st.sampled_from(
    ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca"]
)


@given(names, seconds, st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=30))
def test_local_time_is_zoneinfo_s(name, start, offsets):
    moments = np.array([start + offset for offset in offsets])
    clock = zoneinfo.ZoneInfo(name)
    shown = [
        (EPOCH + timedelta(seconds=int(moment))).astimezone(clock).replace(tzinfo=UTC) for moment in moments
    ]
    wanted = [(when - EPOCH) // timedelta(seconds=1) * SECOND for when in shown]
    assert zones.to_local(name, moments * SECOND).tolist() == wanted


@given(names, st.integers(0, YEAR_2100 // 2), st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=10))
def test_instants_are_first_showings(name, start, offsets):
    moments = np.array([start + offset for offset in offsets])
    wanted = [
        (_first_showing(datetime(1970, 1, 1) + timedelta(seconds=int(moment)), name) - EPOCH)  # noqa: DTZ001 - wall clock
        // timedelta(seconds=1)
        * SECOND
        for moment in moments
    ]
    assert zones.from_local(name, moments * SECOND).tolist() == wanted


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Africa/Casablanca", "America/St_Johns", "Antarctica/Troll", "Asia/Gaza"]
)
def test_no_change_of_the_clock_is_missed(zone):
    """Every half hour of twenty years."""
    moments = np.arange(946_684_800, 1_577_836_800, 1800)
    clock = zoneinfo.ZoneInfo(zone)
    offsets = [
        datetime.fromtimestamp(moment, clock).utcoffset().total_seconds() for moment in moments.tolist()
    ]
    local = zones.to_local(zone, moments * SECOND)
    assert np.array_equal(local - moments * SECOND, np.array(offsets, dtype=np.int64) * SECOND)


@pytest.mark.parametrize(
    ("zone", "skipped", "after"),
    [
        ("Europe/Berlin", "2024-03-31T02:30", "2024-03-31T01:00Z"),
        ("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T03:00Z"),
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00Z"),
    ],
)
def test_a_skipped_time_is_the_moment_after_the_jump(zone, skipped, after):
    shown, wanted = datetime.fromisoformat(skipped), datetime.fromisoformat(after)
    local = np.array([round(shown.replace(tzinfo=UTC).timestamp()) * SECOND])
    assert zones.from_local(zone, local).tolist() == [round(wanted.timestamp()) * SECOND]
    assert _first_showing(shown, zone) == wanted


def test_clock_that_is_put_forward_and_back():
    berlin = "Europe/Berlin"
    spring = round(datetime(2024, 3, 31, tzinfo=UTC).timestamp()) * SECOND  # as a wall clock shows it
    skipped = zones.from_local(berlin, np.array([spring + 2 * HOUR, spring + 2 * HOUR + 59 * 60 * SECOND]))
    assert np.array_equal(skipped, [spring + HOUR, spring + HOUR])
    autumn = round(datetime(2024, 10, 27, tzinfo=UTC).timestamp()) * SECOND
    twice = zones.from_local(berlin, np.array([autumn + 2 * HOUR + 1, autumn + 3 * HOUR]))
    assert np.array_equal(twice, [autumn + 1, autumn + 2 * HOUR])


def test_ends_of_int64_time():
    ends = np.array([np.iinfo(np.int64).min + 3 * DAY, np.iinfo(np.int64).max - 3 * DAY])
    assert np.array_equal(zones.to_local("UTC", ends), ends)
    assert np.all(np.abs(zones.to_local("Europe/Berlin", ends) - ends) <= 2 * HOUR)


def test_nothing_in_nothing_out():
    nothing = np.array([], dtype=np.int64)
    assert (
        zones.to_local("Europe/Berlin", nothing).size == zones.from_local("Europe/Berlin", nothing).size == 0
    )


@pytest.mark.parametrize("name", ["", "Nowhere/Else", "../etc/passwd", "Europe/", "UTC+1 ", None, 7])
def test_zones_that_do_not_exist(name):
    with pytest.raises(PolicyError, match=r'timezone .* is not known: give an IANA name such as "UTC"'):
        zones.zone(name)
