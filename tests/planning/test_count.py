"""`count_lifetimes`: which instants, which modes, what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snapsim as ss
from snapsim.errors import UnitError, UsageError, VolumeSelectionError
from snapsim.planning.instants import from_schedules, regular
from snapsim.planning.instants import given as given_instants
from snapsim.units import HOUR, SECOND

START = 1_700_000_000 * SECOND  # 2023-11-14T22:13:20Z


def trace(*times: int, start: int | None = START, capacity: int | None = 1 << 20, **more) -> ss.Trace:
    """Writes of 4 KiB to the first block at the given times."""
    n = len(times)
    return ss.Trace.from_arrays(
        list(times), [ss.WRITE] * n, [0] * n, [4096] * n, start=start, capacity=capacity, **more
    )


def test_every_encloses_the_trace():
    """From the largest multiple not after the start to the first one after the last request."""
    lifetimes = ss.count_lifetimes(trace(0, 2 * HOUR), every="1h", block_size="4KiB")
    hour = START // HOUR * HOUR
    assert lifetimes.instants.tolist() == [hour, hour + HOUR, hour + 2 * HOUR, hour + 3 * HOUR]
    assert lifetimes.instants.dtype == np.int64


def test_a_request_on_an_instant_is_seen_by_the_next_one():
    on = START // HOUR * HOUR + HOUR - START
    lifetimes = ss.count_lifetimes(trace(on), every="1h", block_size="4KiB", initial="thin")
    assert [lifetimes.live_bytes(i) for i in range(lifetimes.n_instants)] == [0, 0, 4096]


@given(st.integers(1, 1000), st.integers(0, 5000), st.integers(0, 5000))
def test_regular_instants_against_a_search(every, start, span):
    found = regular(every, start_ns=start, last_ns=start + span).tolist()
    candidates = range(0, start + span + every + 1, every)
    first = max(one for one in candidates if one <= start)
    last = min(one for one in candidates if one > start + span)
    assert found == list(range(first, last + 1, every))


def test_schedules_enclose_the_trace_and_are_united():
    start, last = (pd.Timestamp(text, tz="UTC").value for text in ("2024-01-30T10:10", "2024-02-02T00:00"))
    found = from_schedules(["@daily", "0 12 * * *"], start_ns=start, last_ns=last)
    assert pd.to_datetime(found, utc=True).strftime("%m-%d %H").tolist() == [
        "01-30 00", "01-30 12", "01-31 00", "01-31 12", "02-01 00", "02-01 12", "02-02 00", "02-02 12",
    ]  # fmt: skip
    yearly = from_schedules("@yearly", start_ns=start, last_ns=last)
    assert pd.to_datetime(yearly, utc=True).year.tolist() == [2024, 2025]


def test_schedules_follow_their_time_zone_and_policies_bring_theirs():
    berlin = ss.count_lifetimes(trace(0), schedules="@daily", timezone="Europe/Berlin", block_size=4096)
    policy = ss.Policy(schedule="@daily", keep_daily=2, timezone="Europe/Berlin")
    assert (
        ss.count_lifetimes(trace(0), schedules=policy, block_size=4096).instants.tolist()
        == berlin.instants.tolist()
    )
    assert pd.to_datetime(berlin.instants, utc=True).hour.tolist() == [23, 23]


def test_given_instants_in_every_dress():
    texts = ["2024-01-01T00:00Z", "2024-01-01T01:00+00:00", "2024-01-02"]
    whole = [
        pd.Timestamp(text).tz_localize(None).value
        for text in ("2024-01-01", "2024-01-01T01:00", "2024-01-02")
    ]
    index = pd.to_datetime(whole, utc=True)
    for dress in (
        texts,
        whole,
        np.array(whole),
        index,
        index.as_unit("us"),
        list(index),
        list(index.tz_convert("Asia/Tokyo")),
    ):
        assert given_instants(dress).tolist() == whole


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "none was given"),
        ({"every": "1h", "instants": [1]}, "every and instants were given"),
        ({"every": "0s"}, "no interval"),
        ({"instants": []}, "at least one"),
        ({"instants": [2, 1]}, "increasing"),
        ({"instants": ["yesterday?"]}, "cannot be read"),
        ({"instants": [1.5]}, "cannot be read|whole"),
        ({"schedules": []}, "schedules is empty"),
        ({"every": "1ns"}, "longer interval"),
        ({"every": "1h", "initial": "full"}, 'not "thick", "thin" or "read-first", and as a file'),
        ({"every": "1h", "initial": [(-1, 5)]}, "negative"),
        ({"every": "1h", "initial": [(0, 1 << 30)]}, "beyond the volume"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        ss.count_lifetimes(trace(0, HOUR), block_size="4KiB", **wrong)


def test_sizes_and_durations_are_read():
    with pytest.raises(UnitError, match="block"):
        ss.count_lifetimes(trace(0), every="1h", block_size="a block")
    with pytest.raises(UnitError, match="minutes or months"):
        ss.count_lifetimes(trace(0), every="15m", block_size=4096)


def test_several_volumes_need_a_choice_or_a_group():
    two = ss.Trace.from_arrays([0, 5], [1, 1], [0, 0], [512, 512], volume=["a", "b"], start=START)
    with pytest.raises(VolumeSelectionError, match="select"):
        ss.count_lifetimes(two, every="1h", block_size=512)
    group = ss.count_group(two, every="1h", block_size=512)
    assert list(group) == ["a", "b"]
    assert np.array_equal(group["a"].instants, group["b"].instants)
    with pytest.raises(UsageError, match="at least one volume"):
        ss.count_group({}, every="1h", block_size=512)


def test_an_image_map_says_what_existed(tmp_path):
    entries = [
        {"start": 0, "length": 8192, "data": True, "zero": False},
        {"start": 8192, "length": 8192, "data": False, "zero": True},
        {"start": 16384, "length": 4096, "data": True, "zero": True},
    ]
    path = tmp_path / "map.json"
    path.write_text(json.dumps(entries))
    lifetimes = ss.count_lifetimes(trace(0), every="1h", block_size=4096, initial=path)
    assert lifetimes.initial_blocks == 2
    frame = pd.DataFrame({"offset": [0], "length": [8192]})
    assert ss.count_lifetimes(trace(0), every="1h", block_size=4096, initial=frame).initial_blocks == 2
    path.write_text("{}")
    with pytest.raises(UsageError, match="qemu-img map"):
        ss.count_lifetimes(trace(0), every="1h", block_size=4096, initial=path)
    path.write_bytes(b"QFI\xfb")
    with pytest.raises(UsageError, match="but a binary file: give the image's map"):
        ss.count_lifetimes(trace(0), every="1h", block_size=4096, initial=path)


def test_recounting_gives_what_counting_gives_and_is_kept():
    one = trace(0, HOUR, 2 * HOUR)
    lifetimes = ss.count_lifetimes(one, every="1h", block_size=4096)
    other = lifetimes.recount(block_size=512, initial="thin")
    assert np.array_equal(
        other.counts, ss.count_lifetimes(one, every="1h", block_size=512, initial="thin").counts
    )
    assert other.recount(block_size=4096, initial="thick") is lifetimes
    assert lifetimes.recount(block_size=512, initial="thin") is other


def test_an_empty_trace_and_progress():
    assert ss.count_lifetimes(trace(), every="1h", block_size=4096).births.sum() == 0
    seen = []
    ss.count_lifetimes(
        trace(0, 1, 2), every="1h", block_size=4096, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (3, 3)


def test_a_trace_without_start_begins_in_2001():
    lifetimes = ss.count_lifetimes(trace(0, start=None), every="1h", block_size=4096)
    assert pd.Timestamp(lifetimes.instants[0]) == pd.Timestamp("2001-01-01")
