"""Users' templates: writing and reading are inverses, and what a driver would refuse is refused at once."""

import re
from datetime import datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy.name_limits import COMPATIBLE, DRIVERS
from snapsim.policy.name_templates import DEFAULT_TEMPLATE, NameTemplate, naming
from snapsim.policy.naming import SnapshotName, format_name
from snapsim.types import SnapshotKind
from snapsim.units import DAY, HOUR, MINUTE, SECOND

TEMPLATES = [
    NameTemplate("snapsim_{utc:%Y%m%dT%H%M%SZ}_{class}"),
    NameTemplate("s_{vm}_{kind}_{utc:%F_%T.%f}_{purpose}"),
    NameTemplate("s{vm}-{utc:%Y%m%dT%H%M}"),
    NameTemplate("s{utc:%Y%m%d}{vm}:{utc:%H-%M}-x"),
    NameTemplate("s_{utc:%Y%m%d}_{vm}{utc:%H-%M}"),
    NameTemplate("s_{host}_{utc:%Y-%jT%H%M}_{serial}"),
    NameTemplate("s_{utc:%Y%m%dT%H%M}{number}_{policy}"),
    NameTemplate("s_{utc:%Y%m%dT%H%M}-{vm}"),
    NameTemplate("s_{vm}_{local:%Y%m%dT%H%M%S%z}", timezone="Europe/Berlin", drivers=("btrfs", "qcow2")),
    NameTemplate("s*{local:%Y%m%dT%H%M%z}*{vm}", timezone="Australia/Lord_Howe", drivers=("file",)),
    NameTemplate(COMPATIBLE["zfs-auto-snapshot"].template, drivers=("zfs",)),
]
templates = st.sampled_from(TEMPLATES)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.from_regex(
    r"[a-z_.-]{0,4}-?\d{0,3}(-\d\d)?", fullmatch=True
)
names = st.builds(
    SnapshotName,
    vm=texts,
    # offsets from UTC have been whole minutes since 1972, but for Liberia; before, %z cannot say many of them
    time_ns=st.integers(3 * 365 * DAY, 2**62),
    kind=st.sampled_from(SnapshotKind),
    purpose=texts,
    serial=st.integers(1, 200),
    schedule_class=texts,
    policy=texts,
    host=texts,
)


@given(template=templates, name=names)
def test_reading_inverts_writing(template, name):
    assert template.parse(template.format(name)) == template.project(name)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.text)
@pytest.mark.parametrize(
    "name",
    [
        SnapshotName("a-02", 0),
        SnapshotName("x01-", 2 * HOUR + 3 * MINUTE),
        SnapshotName("x", HOUR + 2 * MINUTE, serial=3),
        SnapshotName("_", 0, purpose="-02", schedule_class=".2D02"),
        SnapshotName("", 0, purpose="-", schedule_class="a-02-03", serial=100),
    ],
)
def test_what_looks_like_a_serial_number(template, name):
    assert template.parse(template.format(name)) == template.project(name)


@given(template=templates, name=names)
def test_every_driver_takes_every_name(template, name):
    text = template.format(name)
    for driver in template.drivers:
        limits = DRIVERS[driver]
        assert re.fullmatch(f"[{limits.characters}]+", text)
        assert len(text.encode()) <= limits.most_bytes
        assert not re.fullmatch(limits.refused, text)


@given(template=templates, data=st.data())
def test_what_is_read_is_what_would_be_written(template, data):
    text = data.draw(st.text(max_size=40) | st.from_regex(template._pattern, fullmatch=True))
    name = template.parse(text)
    assert name is None or template.format(name) == text


@given(template=templates, left=names, right=names)
def test_two_names_never_look_alike(template, left, right):
    assume(template.project(left) != template.project(right))
    assert template.format(left) != template.format(right)


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=10))
def test_names_sort_by_time(seconds):
    template = TEMPLATES[0]
    written = [template.format(SnapshotName("db", second * SECOND)) for second in seconds]
    assert sorted(written) == [
        template.format(SnapshotName("db", second * SECOND)) for second in sorted(seconds)
    ]
    assert template.sortable
    assert not TEMPLATES[8].sortable


def test_collisions_are_numbered():
    for template, wanted in ((TEMPLATES[0], ["", "-02", "-03"]), (TEMPLATES[5], ["01", "02", "03"])):
        taken = set()
        for _ in range(11):
            taken.add(template.format(SnapshotName("db", 0), taken=taken))
        assert {template.parse(text).serial for text in taken} == set(range(1, 12))
        assert all(text.endswith(end) for text, end in zip(sorted(taken), wanted, strict=False))


@pytest.mark.parametrize(
    ("text", "zone", "moments", "written"),
    [
        ("s_{local:%Y%m%dT%H%M%z}", "Europe/Berlin", ["2024-10-27T00:30Z", "2024-10-27T01:30Z"],
         ["s_20241027T0230+0200", "s_20241027T0230+0100"]),
        ("s_{local:%Y%m%dT%H%M%z}", "Australia/Lord_Howe", ["2024-04-06T14:45Z", "2024-04-06T15:15Z"],
         ["s_20240407T0145+1100", "s_20240407T0145+1030"]),
        ("s_{local:%Y%m%dT%H%M%z}", "Asia/Kolkata", ["2024-10-27T00:30Z"], ["s_20241027T0600+0530"]),
        ("s_{utc:%Y%m%dT%H%MZ}", "Europe/Berlin", ["2024-10-27T00:30Z", "2024-10-27T01:30Z"],
         ["s_20241027T0030Z", "s_20241027T0130Z"]),
    ],
)  # fmt: skip
def test_the_hour_that_the_clock_shows_twice(text, zone, moments, written):
    template = NameTemplate(text, timezone=zone, drivers=("btrfs",))
    times = [round(datetime.fromisoformat(moment).timestamp()) * SECOND for moment in moments]
    assert [template.format(SnapshotName("", time)) for time in times] == written
    assert [template.parse(one).time_ns for one in written] == times


def test_an_offset_that_the_zone_does_not_have_is_foreign():
    template = NameTemplate("s_{local:%Y%m%dT%H%M%z}", timezone="Europe/Berlin", drivers=("btrfs",))
    assert template.parse("s_20240701T1200+0200") is not None
    assert template.parse("s_20240701T1200+0100") is None
    assert template.parse("s_20240701T1100Z") is None


@pytest.mark.parametrize(
    "text",
    [
        "snapsim_20240101T000000Z",
        "snapsim_20240231T000000Z_daily",
        "snapsim_20240101T240000Z_daily",
        "snapsim_20240101T000000Z_da_ily",
        "snapsim_20240101T000000Z_daily-01",
        "snapsim_20240101T000000Z_d.41ily",
        "snapsim_20240101T000000Z_.FF",
        "snapsim_20240101T000000Z_.ff",
        "snapsim_99990101T000000Z_daily",
        "snapsim_00000101T000000Z_daily",
        "xsnapsim_20240101T000000Z_daily",
        "snapsim_20240101T000000Z_daily\n",
        "snapsim_\u0662\u0660240101T000000Z_daily",
        "autosnap_2026-01-01_00:00:00_daily",
    ],
)
def test_foreign_names(text):
    assert TEMPLATES[0].parse(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("snap_{vm}", r"it has no time: add \{utc:"),
        ("{", "its braces do not match"),
        ("", "its braces do not match"),
        ("{{utc:%Y}}", "its braces do not match"),
        ("s_{utc:%Y%m%d}", "its time is not known to the minute"),
        ("s_{utc:%Y%m%dT%H}", "its time is not known to the minute"),
        ("s_{utc:%d%m%YT%H%M}", "another order than year, month, day"),
        ("s_{utc:%H%M}_{utc:%Y%m%d}", "another order"),
        ("s_{utc:%Y%Y%m%dT%H%M}", "another order"),
        ("s_{utc:%y%m%dT%H%M}", "has %y: %Y %m %d"),
        ("s_{utc:%c}", "has %c"),
        ("s_{utc:%Y%m%dT%H%M%}", "has %: "),
        ("s_{utc}", r"\{utc\} has no format"),
        ("s_{utc:%Y%m%dT%H%M}_{utc:%z}", "the offset of UTC says nothing"),
        ("s_{local:%Y%m%dT%H%M}", "its local time has no offset"),
        ("s_{local:%Y%m%d}_{utc:%H%M}", "it has UTC and local time"),
        ("s_{local:%Y%m%dT%H%M%z}", "zfs does not allow the '\\+' that %z writes"),
        ("{vm}{class}_{utc:%Y%m%dT%H%M}", r"\{vm\} and \{class\} cannot be told apart .* put '_' between"),
        ("{vm}-{class}_{utc:%Y%m%dT%H%M}", r"\{vm\} and \{class\} cannot be told apart"),
        ("{vm}{utc:%Y%m%dT%H%M}{class}", r"\{vm\} and \{class\} cannot be told apart"),
        ("s_{vm}_{vm}_{utc:%Y%m%dT%H%M}", r"\{vm\} says again"),
        ("s_{serial}_{number}_{utc:%Y%m%dT%H%M}", r"\{number\} says again"),
        ("s_{name}_{utc:%Y%m%dT%H%M}", r"field \{name\} is not known: the fields are vm, "),
        ("s_{vm:x}_{utc:%Y%m%dT%H%M}", r"\{vm:x\} has a format"),
        ("a/b_{utc:%Y%m%dT%H%M}", "file does not allow the '/'"),
        ("a@b_{utc:%Y%m%dT%H%M}", "zfs does not allow the '@'"),
        ("a%b_{utc:%Y%m%dT%H%M}", "zfs does not allow the '%'"),
        ("ä_{utc:%Y%m%dT%H%M}", "file does not allow the 'ä'"),
        ("{utc:%Y%m%d%H%M}", "qcow2 would refuse its names .*digits only.* begin it with a word"),
        (".s_{utc:%Y%m%d%H%M}", "libvirt would refuse"),
        ("-s_{utc:%Y%m%d%H%M}", "file would refuse"),
    ],
)
def test_what_is_no_template(text, message):
    with pytest.raises(PolicyError, match=f"name template {re.escape(repr(text))}: .*{message}"):
        NameTemplate(text)


def test_unknown_driver_and_zone():
    with pytest.raises(PolicyError, match="driver 'ntfs' is not known: the drivers are file, btrfs"):
        NameTemplate("s_{utc:%Y%m%dT%H%M}", drivers=("ntfs",))
    with pytest.raises(PolicyError, match="timezone 'Europe/Belin' is not known"):
        NameTemplate("s_{utc:%Y%m%dT%H%M}", timezone="Europe/Belin")


def test_names_that_a_driver_refuses():
    template = NameTemplate("{vm}_{utc:%Y%m%dT%H%M}")
    with pytest.raises(PolicyError, match=r"is refused by libvirt .* begin the template with a word"):
        template.format(SnapshotName(".hidden", 0))
    with pytest.raises(PolicyError, match="is refused by file"):
        template.format(SnapshotName("-rf", 0))
    with pytest.raises(PolicyError, match="serial 0 is not positive"):
        template.format(SnapshotName("db", 0, serial=0))
    with pytest.raises(PolicyError, match="not Unicode"):
        template.format(SnapshotName("\ud800", 0))
    with pytest.raises(PolicyError, match="cannot say in minutes"):
        TEMPLATES[8].format(SnapshotName("db", -90 * 365 * DAY))


@pytest.mark.parametrize(("driver", "most"), [("file", 255), ("libvirt", 251), ("zfs", 255)])
def test_longest_name(driver, most):
    template = NameTemplate("s_{vm}_{utc:%Y%m%dT%H%M}", drivers=(driver,))
    rest = len(template.format(SnapshotName("", 0)))
    assert len(template.format(SnapshotName("v" * (most - rest), 0))) == most
    with pytest.raises(PolicyError, match=f"has {most + 1} bytes, and {driver} allows {most}: shorten"):
        template.format(SnapshotName("v" * (most - rest + 1), 0))
    assert template.room(driver, around=len("pool/vm@")) == most - 8


def test_default():
    name = SnapshotName("db_1", 0, purpose="nightly")
    assert naming().format(name) == naming(DEFAULT_TEMPLATE).format(name) == format_name(name)
    assert naming().parse(format_name(name)) == name
    assert naming("s_{utc:%Y%m%dT%H%M}").format(name) == "s_19700101T0000"


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("zrepl", "zrepl_20240229_235959_000"),
        ("zfs-auto-snapshot", "zfs-auto-snap_hourly-2024-02-29-2300"),
        ("btrbk-long-iso", "home.20240229T235900+0000"),
        ("sanoid", "autosnap_2024-02-29_23:59:00_daily"),
    ],
)
def test_names_of_other_tools(tool, text):
    entry = COMPATIBLE[tool]
    template = NameTemplate(entry.template, drivers=entry.drivers)
    assert template.format(template.parse(text)) == text


def test_other_tools_are_said_or_said_not_to_be():
    for tool, entry in COMPATIBLE.items():
        assert entry.note, tool
        assert bool(entry.template) == bool(entry.drivers)
    for refused in ("{vm}.{local:%Y%m%d}", "{vm}.{local:%Y%m%dT%H%M}"):
        with pytest.raises(PolicyError):
            NameTemplate(refused, drivers=("btrfs",))
