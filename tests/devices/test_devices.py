"""Device files: what the package brings, what is refused, what comes back from TOML."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snapsim.devices
from snapsim.devices import Access, Device, Evidence, Mechanics, device, device_toml, devices, parse_device
from snapsim.devices.seeks import seek_curve
from snapsim.errors import DeviceError
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES

SMALLEST = """
name = "disk"
title = "A disk"
kind = "ssd"
capacity = "1 GiB"
flush = "1ms"
discard = "2ms"
evidence = []
[read]
random = "10us"
sequential = "5us"
[write]
random = "20us"
sequential = "15us"
"""

bundled = pytest.mark.parametrize("name", devices())


def test_the_package_brings_every_kind():
    assert snapsim.devices() == devices()
    assert {device(name).kind for name in devices()} >= {"hdd", "ssd", "nvme", "network"}


@bundled
def test_every_figure_says_where_it_comes_from(name):
    one = device(name)
    about = {item.about for item in one.evidence}
    needed = {"read", "write", "flush", "discard", "parallelism", "capacity"}
    needed |= {"mechanics"} if one.mechanics.rpm else set()
    needed |= {"cold reads"} if one.cold.unit else set()
    assert about == needed
    assert all(len(item.source) > 10 for item in one.evidence)


@bundled
def test_written_and_read_again(name):
    one = device(name)
    assert parse_device(device_toml(one), source="again") == one


@given(
    st.text(max_size=20),
    st.integers(0, 2**40),
    st.lists(st.builds(Evidence, about=st.just("read"), status=st.just("assumed"), source=st.text())),
)
def test_any_device_survives_its_file(text, duration, evidence):
    one = Device(
        name=text,
        title=text,
        kind="measured",
        capacity=duration + 1,
        read=Access(random=duration, sequential=0, rate=7),
        write=Access(random=0, sequential=duration),
        flush=duration,
        discard=0,
        evidence=tuple(evidence),
        caveats=(text,),
    )
    assert parse_device(device_toml(one), source="again") == one


def test_what_kernels_take():
    one = parse_device(SMALLEST, source="here").parameters()
    assert one.latency[READ].tolist() == [10_000, 5_000]
    assert one.latency[WRITE_ZEROES].tolist() == one.latency[WRITE].tolist() == [20_000, 15_000]
    assert one.latency[FLUSH].tolist() == [1_000_000] * 2
    assert one.latency[DISCARD].tolist() == [2_000_000] * 2
    assert one.moves.tolist() == [1, 1, 0, 1, 0]
    zeroes = parse_device(
        SMALLEST.replace("evidence", 'zeroes = "discard"\nevidence'), source="here"
    ).parameters()
    assert zeroes.latency[WRITE_ZEROES].tolist() == [2_000_000] * 2
    assert zeroes.moves[WRITE_ZEROES] == 0
    ssd = device("sata-ssd").parameters()
    assert ssd.spacing[READ] == 10_205  # 98,000 a second, rounded so that no more come through
    assert device("hdd").parameters().window == 32


@given(st.floats(0.1, 2), st.floats(5, 9), st.floats(12, 20))
def test_the_mean_of_random_seeks_is_the_average_of_the_data_sheet(first, average, full):
    """Against a numerical mean over pairs of places; the curve ends at the full stroke."""
    mechanics = Mechanics(
        track_to_track=round(first * 1e6), average_seek=round(average * 1e6), full_stroke=round(full * 1e6)
    )
    capacity = 10**12
    try:
        distance, time = seek_curve(mechanics, capacity=capacity)
    except DeviceError:
        return
    assert distance[0] == 0
    assert distance[-1] == capacity
    assert np.all(np.diff(time) >= 0)
    assert time[-1] == pytest.approx(mechanics.full_stroke, abs=2)
    share = (np.arange(20_000) + 0.5) / 20_000
    density = 2 * (1 - share) / 20_000
    mean = np.sum(density * np.interp(share * capacity, distance, time))
    assert mean == pytest.approx(mechanics.average_seek, rel=1e-3)


def test_seeks_that_cannot_be():
    with pytest.raises(DeviceError, match="do not fit together"):
        seek_curve(Mechanics(track_to_track=10, average_seek=1000, full_stroke=100), capacity=100)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (("flush", "flosh"), "flosh is not a known key"),
        (('flush = "1ms"', ""), "flush is missing"),
        (('"ssd"', '"tape"'), "kind is 'tape', but must be one of"),
        (('"10us"', '"10"'), "read.random: duration '10' has no unit"),
        (('"1 GiB"', "0"), "at least one byte"),
        (('"10us"', '"10us"\nrate = "1 TB"'), "at most 128 GiB"),
        (('"10us"', '"10us"\noperations = 2000000000'), "thousand million"),
        (("evidence = []", "channels = 0\nevidence = []"), "channels is 0"),
        (("[read]", "[mechanics]\nrpm = 7200\n[read]"), "read.rate is missing"),
        (("[read]", "[mechanics]\nrpm = 72\n[read]"), "rpm is 72"),
        (("[read]", "[read"), "is not TOML"),
    ],
)
def test_files_that_say_what_cannot_be(tmp_path, change, match):
    path = tmp_path / "mine.toml"
    path.write_text(SMALLEST.replace(*change))
    with pytest.raises(DeviceError, match=match) as error:
        device(path)
    assert "mine.toml" in str(error.value)


def test_names_that_are_unknown(tmp_path):
    with pytest.raises(DeviceError, match="must be one of hdd, "):
        device("floppy")
    with pytest.raises(DeviceError, match=r"none\.toml cannot be read"):
        device(tmp_path / "none.toml")
    one = device("HDD")
    assert device(one) is one
