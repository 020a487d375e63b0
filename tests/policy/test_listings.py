"""Listings of other tools, as text."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import snapsim as ss
from snapsim.errors import PolicyError, UsageError
from snapsim.policy.listings import LISTINGS, parse_listing
from snapsim.policy.listings.source import Source
from snapsim.types import Snapshot, SnapshotKind

SECOND = 1_000_000_000


def ns(text):
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


RESTIC = """
[{"time":"2024-01-01T10:00:00.123456789+01:00","tree":"61","paths":["/srv"],"hostname":"h","username":"root",
  "tags":["a","b"],"id":"f288ce974b40978e8ccd641b00eb0047","short_id":"f288ce97"},
 {"time":"2024-07-02T08:00:00Z","parent":"f2","tree":"61","paths":["/srv","/etc"],"hostname":"h",
  "id":"a59bac13c845345076830ee515e300cf","short_id":"a59bac13"}]
"""
RESTIC_GROUPED = '[{"group_key":{"hostname":"h","paths":null,"tags":null},"snapshots":' + RESTIC + "}]"
BORG_JSON = """
{"archives": [
    {"archive": "a1", "barchive": "a1", "id": "c35e9a28", "name": "a1",
     "start": "2024-01-01T11:00:00.000000", "time": "2024-01-01T11:00:00.000000"},
    {"archive": "a2.checkpoint", "id": "c35e9a29", "name": "a2.checkpoint", "comment": "hello",
     "hostname": "h",
     "start": "2024-07-01T11:00:00.500000", "time": "2024-07-01T11:00:00.500000"}],
 "encryption": {"mode": "none"}, "repository": {"id": "1d94", "location": "/b"}}
"""
BORG_TEXT = """\
a1                                   Mon, 2024-01-01 11:00:00 [c35e9a28e84e41a7]
two words                            Mon, 2024-07-01 11:00:00 [c35e9a28e84e41a8]
"""
BORG_2_TEXT = "a1     Mon, 2024-01-01 11:00:00 +0100 [c35e9a28e84e41a7]\n"
PROXMOX = """
[{"backup-type": "vm", "backup-id": "100", "backup-time": 1704103200, "size": 4096, "protected": true,
  "comment": "x",
  "files": [{"filename": "index.json.blob"}, {"filename": "drive-scsi0.img.fidx"}], "owner": "root@pam"},
 {"backup-type": "ct", "backup-id": "101", "backup-time": 1704189600, "files": ["root.pxar.didx"]}]
"""
ZFS_EXACT = """\
tank/vm@autosnap_2024-01-01_10:00:01_daily\t1704103201\t1536\t0
tank/vm@zfs-auto-snap_hourly-2024-01-01-1100\t1704106800\t-\t0
tank/vm@zrepl_20240101_120000_000\t1704110400
tank/my vm@by hand\t1704114000\t0
"""
ZFS_PRETTY = """\
NAME                                       CREATION                USED  USERREFS
tank/vm@autosnap_2024-01-01_10:00:01_daily Mon Jan  1 10:00 2024   1.5K  1
tank/vm@other                              Tue Jul  2 23:00 2024   0B    0
"""
SNAPPER_TABLE = """\
 # | Type   | Pre # | Date                     | User | Cleanup  | Description      | Userdata
---+--------+-------+--------------------------+------+----------+------------------+-------------------
0  | single |       |                          | root |          | current          |
1* | single |       | Mon Jan  1 10:00:00 2024 | root | timeline | first, "one" | x |
2  | pre    |       | Tue Jan  2 10:00:00 2024 | root | number   | before           | a=b, important=yes
3  | post   |     2 | Tue Jan  2 10:05:00 2024 | root | number   | after            |
"""
SNAPPER_NEW_TABLE = """\
 # │ Type   │ Pre # │ Date                │ User │ Used Space │ Cleanup  │ Description │ Userdata
───┼────────┼───────┼─────────────────────┼──────┼────────────┼──────────┼─────────────┼─────────
0  │ single │       │                     │ root │            │          │ current     │
1- │ single │       │ 2024-01-01 10:00:00 │ root │  16.00 KiB │ timeline │ timeline    │
"""
SNAPPER_CSV = """\
config,subvolume,number,default,active,type,pre-number,date,user,used-space,cleanup,description,userdata
c,/mnt,0,no,no,single,,,root,,,current,
c,/mnt,1,no,yes,single,,2024-01-01 10:00:00,root,16384,timeline,"first, ""one"" | x",
c,/mnt,2,no,no,pre,,2024-01-02 10:00:00,root,,number,before,"a=b, important=yes"
c,/mnt,3,no,no,post,2,2024-01-02 10:05:00,root,,number,after,
"""
SNAPPER_JSON = json.dumps(
    {
        "c": [
            {
                "subvolume": "/mnt",
                "number": int(row["number"]),
                "default": False,
                "active": row["active"] == "yes",
                "type": row["type"],
                "pre-number": int(row["pre-number"]) if row["pre-number"] else None,
                "date": row["date"],
                "user": "root",
                "used-space": int(row["used-space"]) if row["used-space"] else None,
                "cleanup": row["cleanup"],
                "description": row["description"],
                "userdata": dict(part.split("=") for part in row["userdata"].split(", "))
                if row["userdata"]
                else None,
            }
            for row in csv.DictReader(io.StringIO(SNAPPER_CSV))
        ]
    }
)
VIRSH = """\
 Name                 Creation Time               State
-----------------------------------------------------------
 before upgrade       2024-01-01 10:00:00 +0100   running
 nightly              2024-01-02 10:00:00 +0100   disk-snapshot
 off                  2024-01-03 10:00:00 +0000   shutoff

"""
BTRBK = "".join(
    f"format=\"snapshots\" source_url='/mnt/work' source_host='{host}' source_port='' "
    f"source_subvolume='/mnt/work' snapshot_subvolume='/mnt/snaps/{name}' snapshot_name='{name}' "
    "status='' source_rsh=''\n"
    for name, host in (
        ("work.20240101", ""),
        ("work.20240102T0030", "nas"),
        ("work.20240102T0030_1", ""),
        ("work.20240103T003015+0500", ""),
    )
)
QEMU_TEXT = """\
image: d.qcow2
Snapshot list:
ID        TAG               VM SIZE                DATE     VM CLOCK     ICOUNT
1         first one             0 B 2024-01-01 10:00:00 00:00:00.000          0
2         running           1.2 GiB 2024-01-02 10:00:00 00:10:00.000
Format specific information:
    compat: 1.1
"""
QEMU_JSON = """
{"snapshots": [
    {"icount": 0, "vm-clock-nsec": 0, "name": "first one", "date-sec": 1704103200, "date-nsec": 88645000,
     "vm-clock-sec": 0, "id": "1", "vm-state-size": 0},
    {"vm-clock-nsec": 0, "name": "running", "date-sec": 1704189600, "date-nsec": 0, "vm-clock-sec": 0,
     "id": "2", "vm-state-size": 1288490188}],
 "virtual-size": 10485760, "filename": "d.qcow2", "format": "qcow2"}
"""
CSV = """\
time,name,id,class,tags,kind,size_bytes,important,paths,expires_ns
2024-01-01T10:00:00Z,one,1,daily;weekly,a;b,full,4 KiB,yes,/a;/b,
2024-01-02T10:00:00,two,2,,,,,no,,1704276000000000000
"""

TEXTS = {
    "restic": RESTIC,
    "restic grouped": RESTIC_GROUPED,
    "borg json": BORG_JSON,
    "borg": BORG_TEXT,
    "borg 2": BORG_2_TEXT,
    "proxmox": PROXMOX,
    "zfs exact": ZFS_EXACT,
    "zfs pretty": ZFS_PRETTY,
    "snapper table": SNAPPER_TABLE,
    "snapper new table": SNAPPER_NEW_TABLE,
    "snapper csv": SNAPPER_CSV,
    "snapper json": SNAPPER_JSON,
    "virsh": VIRSH,
    "btrbk": BTRBK,
    "qemu-img text": QEMU_TEXT,
    "qemu-img json": QEMU_JSON,
    "csv": CSV,
}


@pytest.mark.parametrize("name", TEXTS)
def test_one_tool_recognises_it_and_it_is_the_right_one(name):
    tools = [tool for tool, listing in LISTINGS.items() if listing.recognises(Source("listing", TEXTS[name]))]
    assert tools == [name.split()[0]]
    snapshots = parse_listing(TEXTS[name])
    assert snapshots
    assert snapshots == parse_listing(TEXTS[name], tool=name.split()[0])


def test_restic():
    first, second = parse_listing(RESTIC)
    assert first.time_ns == ns("2024-01-01T09:00Z") + 123_456_789
    assert (first.name, first.id) == ("f288ce97", "f288ce974b40978e8ccd641b00eb0047")
    assert first.tags == {"a", "b"}
    assert first.attributes == {"host": "h", "paths": ("/srv",), "utc_offset_s": 3600}
    assert second.attributes["utc_offset_s"] == 0
    assert parse_listing(RESTIC_GROUPED) == [first, second]


def test_borg():
    winter, summer = parse_listing(BORG_JSON, timezone="Europe/Berlin")
    assert winter == Snapshot(ns("2024-01-01T10:00Z"), "a1", "c35e9a28")
    assert summer.time_ns == ns("2024-07-01T09:00Z") + SECOND // 2
    assert summer.attributes == {"incomplete": True, "host": "h", "description": "hello"}
    winter, summer = parse_listing(BORG_TEXT, timezone="Europe/Berlin")
    assert winter == Snapshot(ns("2024-01-01T10:00Z"), "a1", "c35e9a28e84e41a7")
    assert (summer.time_ns, summer.name) == (ns("2024-07-01T09:00Z"), "two words")
    (written_with_offset,) = parse_listing(BORG_2_TEXT, timezone="America/New_York")
    assert written_with_offset == winter


def test_proxmox():
    finished, unfinished = parse_listing(PROXMOX)
    assert finished.id == finished.name == "vm/100/2024-01-01T10:00:00Z"
    assert finished.attributes == {
        "volume": "vm/100",
        "protected": True,
        "size_bytes": 4096,
        "description": "x",
        "incomplete": False,
    }
    assert unfinished.attributes == {"volume": "ct/101", "protected": False, "incomplete": True}


def test_zfs():
    sanoid, labelled, zrepl, by_hand = parse_listing(ZFS_EXACT)
    assert sanoid == Snapshot(
        ns("2024-01-01T10:00:01Z"),
        "autosnap_2024-01-01_10:00:01_daily",
        "tank/vm@autosnap_2024-01-01_10:00:01_daily",
        classes=frozenset({"daily"}),
        attributes={"volume": "tank/vm", "size_bytes": 1536},
    )
    assert [s.classes for s in (labelled, zrepl, by_hand)] == [{"hourly"}, {"zrepl"}, set()]
    assert by_hand.id == "tank/my vm@by hand"
    (tabbed,) = parse_listing("my tank/vm@a b\tTue Jul  2 23:00 2024\t1.5M\n", timezone="Europe/Berlin")
    assert (tabbed.id, tabbed.time_ns) == ("my tank/vm@a b", ns("2024-07-02T21:00Z"))
    assert tabbed.attributes == {"volume": "my tank/vm", "size_bytes": 3 << 19}
    first, second = parse_listing(ZFS_PRETTY, timezone="Europe/Berlin")
    assert first.time_ns == ns("2024-01-01T09:00Z")
    assert first.attributes == {"volume": "tank/vm", "size_bytes": 1536, "protected": True}
    assert second.time_ns == ns("2024-07-02T21:00Z")
    assert second.attributes == {"volume": "tank/vm", "size_bytes": 0}


@pytest.mark.parametrize("text", [SNAPPER_TABLE, SNAPPER_CSV, SNAPPER_JSON])
def test_snapper(text):
    first, pre, post = parse_listing(text, timezone="Europe/Berlin")
    assert (first.time_ns, first.id, first.classes) == (ns("2024-01-01T09:00Z"), "1", {"timeline"})
    assert first.attributes["in_use"] is True
    assert first.attributes["description"] == 'first, "one" | x'
    assert pre.tags == {"a=b", "important=yes"}
    assert pre.attributes["important"] is True
    assert "important" not in post.attributes
    assert [(s.attributes["pair"], s.attributes["pair_role"]) for s in (pre, post)] == [
        ("3", "pre"),
        ("2", "post"),
    ]
    assert [s.attributes["number"] for s in (first, pre, post)] == [1, 2, 3]


def test_snapper_of_several_configurations():
    both = json.loads(SNAPPER_JSON)
    both["d"] = both["c"]
    snapshots = parse_listing(json.dumps(both))
    assert [s.id for s in snapshots] == ["c/1", "c/2", "c/3", "d/1", "d/2", "d/3"]
    assert snapshots[4].attributes["pair"] == "d/3"
    (only,) = parse_listing(SNAPPER_NEW_TABLE)
    assert (only.id, only.attributes["in_use"], only.attributes["size_bytes"]) == ("1", True, 16384)


def test_virsh():
    running, disk, off = parse_listing(VIRSH)
    assert (running.name, running.time_ns) == ("before upgrade", ns("2024-01-01T09:00Z"))
    assert [s.kind for s in (running, disk, off)] == [SnapshotKind.FULL, SnapshotKind.DISK, SnapshotKind.DISK]


def test_btrbk():
    snapshots = parse_listing(BTRBK, timezone="Europe/Berlin")
    expected = ["2023-12-31T23:00Z", "2024-01-01T23:30Z", "2024-01-01T23:30Z", "2024-01-02T19:30:15Z"]
    assert [s.time_ns for s in snapshots] == [ns(text) for text in expected]
    assert snapshots[1].attributes == {"volume": "/mnt/work", "host": "nas"}
    assert snapshots[2].attributes == {"volume": "/mnt/work", "serial": 1}
    assert snapshots[2].id == "/mnt/snaps/work.20240102T0030_1"


def test_qemu_img():
    disk, full = parse_listing(QEMU_TEXT)
    assert (disk.id, disk.name, disk.kind, disk.time_ns) == (
        "1",
        "first one",
        "disk",
        ns("2024-01-01T10:00Z"),
    )
    assert (full.id, full.name, full.kind) == ("2", "running", "full")
    exact, full = parse_listing(QEMU_JSON)
    assert exact.time_ns == disk.time_ns + 88_645_000
    assert (full.kind, full.attributes) == ("full", {"volume": "d.qcow2"})


def test_csv():
    one, two = parse_listing(CSV, timezone="Europe/Berlin")
    assert one == Snapshot(
        ns("2024-01-01T10:00Z"),
        "one",
        "1",
        SnapshotKind.FULL,
        frozenset({"daily", "weekly"}),
        frozenset("ab"),
        {"size_bytes": 4096, "important": True, "paths": ("/a", "/b")},
    )
    assert two.time_ns == ns("2024-01-02T09:00Z")
    assert two.attributes == {"important": False, "expires_ns": ns("2024-01-03T10:00Z")}


def test_csv_of_a_spreadsheet():
    """With a byte order mark, empty lines, and an offset beside the time."""
    (only,) = parse_listing("\ufefftime,name\r\n\r\n2024-01-01T10:00+01:00,a\r\n")
    assert only == Snapshot(ns("2024-01-01T09:00Z"), "a", "a", attributes={"utc_offset_s": 3600})


def test_a_time_that_the_clock_shows_twice_is_the_first():
    (shown,) = parse_listing("time\n2024-10-27T02:30:00\n", timezone="Europe/Berlin")
    assert shown.time_ns == ns("2024-10-27T00:30Z")


WORDS = st.text(
    st.characters(blacklist_characters=";", blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1
)
SNAPSHOTS = st.builds(
    Snapshot,
    time_ns=st.integers(-(2**62), 2**62),
    name=WORDS,
    id=WORDS,
    kind=st.sampled_from(SnapshotKind),
    classes=st.frozensets(WORDS, max_size=3),
    tags=st.frozensets(WORDS, max_size=3),
    attributes=st.fixed_dictionaries(
        {},
        optional={
            "host": WORDS,
            "number": st.integers(0, 10**6),
            "protected": st.booleans(),
            "paths": st.lists(WORDS, min_size=1, max_size=3).map(tuple),
            "size_bytes": st.integers(0, 2**60),
            "pair_role": st.sampled_from(["pre", "post"]),
        },
    ),
)
FIELDS = ["name", "id", "kind", "classes", "tags"]


def cell(value):
    if isinstance(value, tuple | frozenset):
        return ";".join(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def as_csv(snapshots, time_column):
    keys = sorted({key for snapshot in snapshots for key in snapshot.attributes})
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([time_column, *FIELDS, *keys])
    for s in snapshots:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=s.time_ns // 1000)
        time = {"time_ns": str(s.time_ns), "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{s.time_ns % SECOND:09d}Z"}
        row = [time[time_column], *(cell(getattr(s, field)) for field in FIELDS)]
        writer.writerow(row + [cell(s.attributes.get(key, "")) for key in keys])
    return file.getvalue()


@given(st.lists(SNAPSHOTS, max_size=6, unique_by=lambda s: s.id), st.sampled_from(["time", "time_ns"]))
def test_csv_brings_back_what_was_written(snapshots, time_column):
    assert parse_listing(as_csv(snapshots, time_column), tool="csv") == snapshots


@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_a_damaged_listing_is_read_or_refused_in_words(name, data):
    text = TEXTS[name]
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 60)))
    damaged = (
        text[:start]
        + data.draw(st.sampled_from(["", "x", '"', "[]", "{}", "null", "9" * 30, "\t", "\n", ",", "-5"]))
        + text[stop:]
    )
    try:
        parse_listing(damaged, tool=data.draw(st.sampled_from([None, name.split()[0]])))
    except UsageError as error:
        assert str(error).startswith("listing")  # noqa: PT017  the message is the subject


@given(st.sampled_from(sorted(LISTINGS)), st.sampled_from(sorted(TEXTS)))
def test_a_foreign_listing_is_refused_in_words(tool, name):
    if tool == name.split()[0]:
        return
    try:
        assert parse_listing(
            TEXTS[name], tool=tool
        )  # two formats may have something in common; never nothing
    except UsageError as error:
        assert str(error).startswith("listing")  # noqa: PT017  the message is the subject


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "time",
                        "tree",
                        "id",
                        "archives",
                        "backup-time",
                        "pre-number",
                        "virtual-size",
                        "snapshots",
                        "group_key",
                        "name",
                        "number",
                        "date",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
    ),
    st.sampled_from([None, *sorted(LISTINGS)]),
)
@example([1], None)
@example({"archives": [{"name": 5}]}, None)
def test_any_json_is_read_or_refused_in_words(value, tool):
    try:
        parse_listing(json.dumps(value), tool=tool)
    except UsageError as error:
        assert str(error).startswith("listing")  # noqa: PT017  the message is the subject


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RESTIC.replace("2024-07-02T08:00:00Z", "yesterday"), ["snapshot 2", "'time'", "yesterday"]),
        (RESTIC.replace('"id":"a59bac13c845345076830ee515e300cf"', '"id":5'), ["snapshot 2", "'id'", "text"]),
        (RESTIC.replace("a59bac13c845345076830ee515e300cf", "f288ce974b40978e8ccd641b00eb0047"), ["twice"]),
        (BORG_TEXT + "rubbish\n", ["line 3", "--json"]),
        (
            BORG_JSON.replace("2024-07-01T11:00:00.5", "2024-02-30T11:00:00.5"),
            ["archive 2", "'start'", "does not exist"],
        ),
        (PROXMOX.replace("1704189600", '"x"'), ["backup 2", "'backup-time'", "whole number"]),
        (ZFS_EXACT + "tank/vm@x\tnever\n", ["line 5", "'creation'", "zfs list"]),
        (ZFS_EXACT + "tank\t1704114000\t0\n", ["line 5", "'name'", "no snapshot"]),
        (
            "NAME  USED  AVAIL  REFER  MOUNTPOINT\ntank@a  0B  -  24K  -\n",
            ["line 1", "name and creation", "zfs list"],
        ),
        (
            SNAPPER_TABLE.replace("Tue Jan  2 10:05:00 2024", "Di 02 Jan 2024 10:05:00 "),
            ["line 6", "'date'", "--iso"],
        ),
        (VIRSH.replace(" +0000   shutoff", "          shutoff"), ["line 5", "--tree"]),
        (
            BTRBK + BTRBK.splitlines()[0].replace("20240101", "monday"),
            ["line 5", "'snapshot_name'", "monday"],
        ),
        (QEMU_TEXT.replace("2024-01-02 10:00:00", "            tomorrow"), ["line 5", "qemu-img"]),
        (CSV.replace("important", "imprtant"), ["line 1", "'imprtant'", "important"]),
        (CSV.replace("yes", "maybe"), ["line 2", "'important'", "maybe"]),
        (CSV.replace("full", "half"), ["line 2", "'kind'", "memory"]),
        (CSV + ",three,3,,,,,,,\n", ["line 4", "'time'", "missing"]),
        (CSV + "2024-01-03T10:00,three\n", ["line 4", "10 cells", "2"]),
        (BTRBK.replace("status='' source_rsh=''\n", "status='\n", 1), ["line 1", "quotation"]),
        (SNAPPER_TABLE.replace(" # |", " N |"), ["line 1", "no column #"]),
        (SNAPPER_CSV.replace("c,/mnt,2,", "c,/mnt,two,"), ["line 4", "'number'"]),
        (PROXMOX.replace("1704189600", "9" * 30), ["backup 2", "'backup-time'", "out of range"]),
        (
            PROXMOX.replace('"files": ["root', '"size": "big", "files": ["root'),
            ["backup 2", "'size'", "whole number"],
        ),
        (ZFS_EXACT.replace("1536", "1536Q"), ["line 1", "'used'"]),
        ("time,number\n2024-01-01T10:00Z,two\n", ["line 2", "'number'", "whole number"]),
        ("time,number\n2024-01-01T10:00Z,5\n1500-01-01T10:00Z,6\n", ["line 3", "'time'", "out of range"]),
        ("time_ns,name\nnever,a\n", ["line 2", "'time_ns'", "whole number"]),
        ("time,name,name\n", ["line 1", "twice"]),
        ("time,time_ns\n", ["line 1", "one of the columns"]),
        ('time,name\n2024-01-01T10:00Z,"a\n', ["line 2", "no CSV"]),
        ("", ["empty", "restic snapshots --json"]),
        ("hello\n", ["no tool", "restic snapshots --json"]),
    ],
)
def test_an_error_says_where_and_what_to_do(text, words):
    with pytest.raises(UsageError) as caught:
        parse_listing(text)
    for word in words:
        assert word in str(caught.value)


def test_none_is_none():
    assert parse_listing("[]") == []
    assert parse_listing("", tool="zfs") == []
    assert parse_listing('{"archives": []}') == []
    assert parse_listing('{"root": []}') == []
    assert parse_listing("image: d.qcow2\nfile format: qcow2\nvirtual size: 10 MiB (10485760 bytes)\n") == []
    assert parse_listing('{"virtual-size": 1024, "filename": "d.qcow2"}') == []
    with pytest.raises(UsageError, match="no listing of qemu-img"):
        parse_listing("hello\n", tool="qemu-img")


def test_a_file_is_read(tmp_path):
    path = tmp_path / "listing.json"
    path.write_text(RESTIC)
    assert ss.read_listing(path) == parse_listing(RESTIC)
    with pytest.raises(UsageError, match="'zsf' is not known: there are restic"):
        ss.read_listing(path, tool="zsf")
    with pytest.raises(PolicyError, match="timezone 'Mars' is not known"):
        ss.read_listing(path, timezone="Mars")
    with pytest.raises(UsageError, match="No such file"):
        ss.read_listing(tmp_path / "nothing")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no UTF-8 text"):
        ss.read_listing(path)
