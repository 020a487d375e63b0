"""Ticks of intervals, calendar names and cron lines against brute force, clock changes included."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy import Schedule
from snapsim.policy.schedule import CALENDAR_NAMES
from snapsim.units import DAY, HOUR, MINUTE, SECOND, WEEK

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(text):
    return round(datetime.fromisoformat(text).timestamp()) * SECOND


def ticks(texts, start, stop, zone="UTC"):
    """Ticks as wall clock times with their offset."""
    found = Schedule.of(texts, timezone=zone).ticks(nanoseconds(start), nanoseconds(stop))
    clock = ZoneInfo(zone)
    return [
        f"{(EPOCH + timedelta(seconds=tick // SECOND)).astimezone(clock):%m-%d %H:%M%z}"
        for tick in found.tolist()
    ]


@given(st.integers(1, 10**6), st.integers(-(10**9), 10**9), st.integers(0, 3000))
def test_interval_is_every_multiple_since_the_epoch(every, start, span):
    found = Schedule.of(f"{every}ns").ticks(start, start + span)
    assert found.tolist() == [time for time in range(start, start + span) if time % every == 0]


def test_span_is_half_open():
    schedule = Schedule.of("1h")
    assert schedule.ticks(HOUR, 3 * HOUR).tolist() == [HOUR, 2 * HOUR]
    assert Schedule.of("@hourly").ticks(HOUR, 3 * HOUR).tolist() == [HOUR, 2 * HOUR]
    assert schedule.ticks(HOUR + 1, 2 * HOUR).size == 0
    assert schedule.ticks(HOUR, HOUR).size == 0


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("@hourly", ["01-01 00:00+0000", "01-01 01:00+0000"]),
        ("@daily", ["01-01 00:00+0000", "01-02 00:00+0000"]),
        ("@midnight", ["01-01 00:00+0000", "01-02 00:00+0000"]),
        ("@weekly", ["01-07 00:00+0000", "01-14 00:00+0000"]),  # Sundays
        ("@monthly", ["01-01 00:00+0000", "02-01 00:00+0000"]),
        ("@quarterly", ["01-01 00:00+0000", "04-01 00:00+0000"]),
        ("@yearly", ["01-01 00:00+0000", "01-01 00:00+0000"]),
        ("@annually", ["01-01 00:00+0000", "01-01 00:00+0000"]),
    ],
)
def test_calendar_names(name, first):
    assert ticks(name, "2024-01-01T00:00Z", "2026-01-01T00:00Z")[:2] == first


def test_every_calendar_name_is_tested():
    names = test_calendar_names.pytestmark[0].args[1]
    assert {name for name, _ in names} == set(CALENDAR_NAMES)


LINES = [
    "0 * * * *",
    "*/7 * * * *",
    "*/20 1-3 * * *",
    "30 */2 * * *",
    "0,30 0-4 * * *",
    "30 2 * * *",
    "15 0 1 * *",
    "0 0 13 * 5",
    "59 23 L * *",
    "0 12 * * 1#2",
    "45 23 * MAR-NOV SAT,SUN",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo"]
)
def test_cron_is_what_cronsim_iterates(line, zone):
    """The vectorised ticks are those that the library gives one by one, over a winter and its two nights."""
    start, stop = datetime(2018, 10, 15, 3, 4, 5, tzinfo=UTC), datetime(2019, 4, 15, tzinfo=UTC)
    clock = UTC if zone == "UTC" else ZoneInfo(zone)
    first = (start - timedelta(seconds=1)).astimezone(clock)
    one_by_one = takewhile(lambda when: when < stop, (when.astimezone(UTC) for when in CronSim(line, first)))
    wanted = [(when - EPOCH) // timedelta(seconds=1) * SECOND for when in one_by_one]
    found = Schedule.of(line, timezone=zone).ticks(
        round(start.timestamp()) * SECOND, round(stop.timestamp()) * SECOND
    )
    assert found.tolist() == wanted


@pytest.mark.parametrize(
    ("zone", "night"),
    [
        ("Europe/Berlin", "2024-03-31T01:00Z"),
        ("Europe/Berlin", "2024-10-27T01:00Z"),
        ("Australia/Lord_Howe", "2024-04-06T15:00Z"),
        ("Australia/Lord_Howe", "2024-10-05T15:30Z"),
        ("America/St_Johns", "2000-10-29T02:31Z"),
        ("Pacific/Apia", "2011-12-30T10:00Z"),
    ],
)
@pytest.mark.parametrize(("minutes", "hours"), [("*/10", range(24)), ("*/15", range(1, 4)), ("0", range(24))])
def test_jobs_in_real_time_run_whenever_the_clock_shows_their_time(zone, night, minutes, hours):
    """Minute by minute: what shows one of the times is a tick, be it the first or the second time tonight."""
    middle = nanoseconds(night)
    clock = ZoneInfo(zone)
    step = int(minutes.removeprefix("*/")) or 60
    wanted = []
    for minute in range(-36 * 60, 36 * 60):
        shown = (EPOCH + timedelta(seconds=middle // SECOND + 60 * minute)).astimezone(clock)
        if shown.minute % step == 0 and shown.hour in hours:
            wanted.append(middle + minute * MINUTE)
    hour = "*" if len(hours) == 24 else f"{hours[0]}-{hours[-1]}"
    line = f"{minutes} {hour} * * *"
    found = Schedule.of(line, timezone=zone).ticks(middle - 36 * HOUR, middle + 36 * HOUR)
    assert found.tolist() == wanted


def test_night_in_which_the_clock_is_put_forward():
    span = ("2024-03-30T23:30Z", "2024-03-31T03:30Z")
    assert ticks("30 2 * * *", *span, zone="Europe/Berlin") == [
        "03-31 03:00+0200"
    ]  # 02:30 is skipped: right after
    assert ticks("0,30 2 * * *", *span, zone="Europe/Berlin") == ["03-31 03:00+0200"]  # both: once
    assert ticks("30 2,3 * * *", *span, zone="Europe/Berlin") == ["03-31 03:00+0200", "03-31 03:30+0200"]
    assert ticks("@hourly", *span, zone="Europe/Berlin") == [
        "03-31 01:00+0100", "03-31 03:00+0200", "03-31 04:00+0200", "03-31 05:00+0200",
    ]  # fmt: skip


def test_night_in_which_the_clock_is_put_back():
    span = ("2024-10-26T22:30Z", "2024-10-27T03:30Z")
    assert ticks("30 2 * * *", *span, zone="Europe/Berlin") == [
        "10-27 02:30+0200"
    ]  # shown twice: the first time
    assert ticks("@hourly", *span, zone="Europe/Berlin") == [
        "10-27 01:00+0200", "10-27 02:00+0200", "10-27 02:00+0100", "10-27 03:00+0100", "10-27 04:00+0100",
    ]  # fmt: skip
    assert ticks("@hourly", *span) == [
        f"10-{day} {hour:02}:00+0000" for day, hour in ((26, 23), (27, 0), (27, 1), (27, 2), (27, 3))
    ]


def test_day_without_midnight_is_taken_right_after_the_jump():
    span = ("2018-11-03T00:00Z", "2018-11-06T00:00Z")
    assert ticks("@daily", *span, zone="America/Sao_Paulo") == [
        "11-03 00:00-0300",
        "11-04 01:00-0200",
        "11-05 00:00-0200",
    ]


def test_day_that_never_was():
    """Samoa went from 29 to 31 December 2011; its 30th is made up for at the start of the 31st, once."""
    span = ("2011-12-29T00:00Z", "2012-01-02T00:00Z")
    assert ticks("@daily", *span, zone="Pacific/Apia") == [
        "12-29 00:00-1000",
        "12-31 00:00+1400",
        "01-01 00:00+1400",
        "01-02 00:00+1400",
    ]


def test_interval_does_not_follow_the_clock():
    span = ("2024-03-30T22:00Z", "2024-03-31T04:00Z")
    assert Schedule.of("2h", timezone="Europe/Berlin").ticks(*map(nanoseconds, span)).tolist() == [
        nanoseconds("2024-03-30T22:00Z") + hours * HOUR for hours in (0, 2, 4)
    ]


def test_lines_of_six_fields_begin_with_seconds():
    found = Schedule.of("*/20 1 0 * * *").ticks(0, DAY)
    assert found.tolist() == [MINUTE, MINUTE + 20 * SECOND, MINUTE + 40 * SECOND]


@given(
    st.lists(st.sampled_from(["7min", "1h", "@hourly", "@daily", "30 4 * * *"]), min_size=1, max_size=4),
    st.integers(0, 10**6),
)
def test_union_is_sorted_and_has_no_repetition(texts, start):
    start *= SECOND
    schedule = Schedule.of(texts)
    found = schedule.ticks(start, start + 3 * DAY)
    alone = [Schedule.of(text).ticks(start, start + 3 * DAY).tolist() for text in texts]
    assert found.tolist() == sorted(set().union(*alone))
    assert len(schedule.texts) == len(set(texts))


@given(
    st.integers(-(10**5), 10**5), st.integers(0, 5000), st.sampled_from(["@hourly", "*/7 * * * *", "50min"])
)
def test_spans_can_be_cut_anywhere(start, cut, text):
    schedule = Schedule.of(text, timezone="Europe/Berlin")
    start, middle, stop = start * MINUTE, (start + cut) * MINUTE, (start + 5000) * MINUTE
    pieces = np.concatenate([schedule.ticks(start, middle), schedule.ticks(middle, stop)])
    assert pieces.tolist() == schedule.ticks(start, stop).tolist()


@pytest.mark.parametrize(
    ("texts", "period"),
    [
        ("15min", 15 * MINUTE),
        ("@hourly", HOUR),
        ("@daily", DAY),
        ("0 */6 * * *", 6 * HOUR),
        ("0 0 29 2 *", 4 * 1461 * DAY // 4),
        (["@hourly", "@daily"], HOUR),  # midnights coincide
        (["1h", "90min"], 45 * MINUTE),  # 2 and 3 in 3 h, of which 1 coincides: 4 in 3 h
        (["1s", "@yearly"], SECOND),
    ],
)
def test_period_is_the_mean_distance_of_ticks(texts, period):
    assert Schedule.of(texts).period_ns == pytest.approx(period, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@dayly", r"schedule '@dayly' is no calendar name: did you mean '@daily'\?"),
        ("@reboot", r"schedule '@reboot' is no calendar name: the names are @hourly, "),
        ("15", r'schedule .15. is no interval .* has no unit: write "15s"'),
        ("15m", r"schedule .15m. is no interval .* minutes or months"),
        ("0s", "schedule '0s' would never advance"),
        ("sometimes", "schedule 'sometimes' is no interval"),
        ("61 * * * *", "schedule '61 .*' is no cron line: bad minute"),
        ("0 0 30 2 *", "schedule '0 0 30 2 .*' is no cron line: bad day-of-month"),
        ("0 0 LW * */7", "schedule .* never comes true"),  # the last weekday of a month is no Sunday
        ("0 0 * * 8", "schedule .* is no cron line: bad day-of-week"),
        ([], "schedule is empty"),
        ("", "schedule '' is no interval"),
        (["1h", 7], "schedule 7 is not text"),
        (None, "schedule None is not text"),
        ([f"{minutes}min" for minutes in range(1, 66)], "schedule has 65 parts: 64 is the most"),
    ],
)
def test_what_cannot_be_read_is_refused(text, message):
    with pytest.raises(PolicyError, match=message):
        Schedule.of(text)


@pytest.mark.parametrize("text", ["1ns", "* * * * * *"])
def test_absurdly_many_ticks_are_refused_before_they_fill_the_memory(text):
    with pytest.raises(PolicyError, match=r"would take [\d,]+ snapshots: choose a longer interval"):
        Schedule.of(text).ticks(0, 300 * WEEK)


def test_unknown_zone():
    with pytest.raises(PolicyError, match="timezone 'Europe/Belin' is not known"):
        Schedule.of("@daily", timezone="Europe/Belin")


def test_ready_schedule_keeps_its_zone():
    schedule = Schedule.of("@daily", timezone="Europe/Berlin")
    assert Schedule.of(schedule, timezone="Europe/Berlin") is schedule
    with pytest.raises(PolicyError, match="schedule is in Europe/Berlin, the policy in UTC"):
        Schedule.of(schedule)


def test_the_thirty_first_is_not_in_every_month():
    span = ("2024-01-01T00:00Z", "2024-07-01T00:00Z")
    assert ticks("0 1 31 * *", *span) == [f"{day} 01:00+0000" for day in ("01-31", "03-31", "05-31")]
    assert ticks("0 1 L * *", *span) == [
        f"{day} 01:00+0000" for day in ("01-31", "02-29", "03-31", "04-30", "05-31", "06-30")
    ]
