"""What other systems write about what changed between snapshots: read as it is, and refused where damaged.

thin_delta's output is the program's own.  The others need a cluster or a cloud: these samples are written by
hand after their documentation.
"""

import gzip
import json
import struct
import subprocess
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snapsim as ss
from snapsim.errors import SnapsimError, TraceError, UnknownFormatError, UsageError
from snapsim.traces.change_files import CHANGE_FORMATS, ChangeFile, parse_changes, parts, thin_delta
from snapsim.traces.change_files.reading import read_changes, to_grain
from snapsim.units import GIB, KIB, MIB

THIN = """<superblock uuid="" time="1" transaction="2" data_block_size="128" nr_data_blocks="1000">
  <diff left="1" right="2">
    <same begin="0" length="2"/>
    <different begin="2" length="2"/>
    <left_only begin="5" length="1"/>
    <right_only begin="9" length="1"/>
  </diff>
</superblock>
"""
THIN_VERBOSE = """<superblock uuid="" time="1" transaction="2" data_block_size="128" nr_data_blocks="1000">
  <diff left="1" right="2">
    <different>
      <range begin="2" left_data_begin="2" right_data_begin="10" length="2"/>
    </different>
    <left_only>
      <rang begin="5" data_begin="5" length="1"/>
    </left_only>
    <right_only>
      <range begin="9" data_begin="20" length="1"/>
    </right_only>
  </diff>
</superblock>
"""
RBD = "Offset       Length  Type\n0            4194304 data\n8388608      1048576 zero\n"
RBD_JSON = json.dumps(
    [
        {"offset": 0, "length": 4 * MIB, "exists": "true"},
        {"offset": 8 * MIB, "length": MIB, "exists": "false"},
    ]
)
BLOCK = 512 * KIB


def ebs(*indexes, gone=(), token=None, name="ChangedBlocks"):
    entries = [
        {"BlockIndex": index, "FirstBlockToken": "AAAB", "SecondBlockToken": "AAAC"} for index in indexes
    ]
    entries += [{"BlockIndex": index, "FirstBlockToken": "AAAB"} for index in gone]
    if name == "Blocks":
        entries = [{"BlockIndex": index, "BlockToken": "AAAB"} for index in indexes]
    page = {name: entries, "ExpiryTime": 1.6e9, "VolumeSize": 8, "BlockSize": BLOCK}
    return json.dumps(page | ({"NextToken": token} if token else {}))


def vmware(*areas, begin=0, length=GIB):
    found = [{"start": start, "length": size} for start, size in areas]
    return json.dumps({"startOffset": begin, "length": length, "changedArea": found})


def export(*records, version=1, older="one", newer="two"):
    def record(tag, payload):
        return tag + (struct.pack("<Q", len(payload)) if version > 1 else b"") + payload

    out = b"rbd diff v%d\n" % version
    for tag, name in ((b"f", older), (b"t", newer)):
        if name:
            out += record(tag, struct.pack("<I", len(name)) + name.encode())
    out += record(b"s", struct.pack("<Q", 64 * MIB))
    for tag, offset, length in records:
        data = b"\x5a" * length if tag == b"w" else b""
        out += record(tag, struct.pack("<QQ", offset, length) + data)
    return out + b"e"


MAP = json.dumps(
    [
        {"start": 0, "length": 65536, "depth": 0, "present": True, "zero": False, "data": True, "offset": 0},
        {"start": 65536, "length": 65536, "depth": 1, "present": True, "zero": False, "data": True},
        {"start": 131072, "length": 65536, "depth": 0, "present": True, "zero": True, "data": False},
        {"start": 196608, "length": 65536, "depth": 1, "present": False, "zero": True, "data": False},
    ]
)
SAMPLES = {
    "thin_delta": (THIN, [[131072, 131072], [589824, 65536]], [[327680, 65536]]),
    "rbd": (RBD, [[0, 4 * MIB]], [[8 * MIB, MIB]]),
    "rbd_json": (RBD_JSON, [[0, 4 * MIB]], [[8 * MIB, MIB]]),
    "rbd_export": (export((b"w", 4096, 8192), (b"z", MIB, 4096)), [[4096, 8192]], [[MIB, 4096]]),
    "ebs": (ebs(0, 1, 5, gone=[7]), [[0, 2 * BLOCK], [5 * BLOCK, BLOCK]], [[7 * BLOCK, BLOCK]]),
    "vmware": (vmware((65536, 131072), (MIB, 65536)), [[65536, 131072], [MIB, 65536]], []),
    "qemu_map": (MAP, [[0, 65536]], [[131072, 65536]]),
    "list": ("offset,length,zero\n0,4096,\n8192,4096,1\n", [[0, 4096]], [[8192, 4096]]),
    "list_json": ('[{"offset": 0, "length": 4096}, {"zero": true, "offset": 8192, "length": 512}]',
                  [[0, 4096]], [[8192, 512]]),
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def put(content, name="changes"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


def test_every_format_has_a_sample():
    assert set(SAMPLES) == set(CHANGE_FORMATS)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("named", [True, False])
def test_a_sample_is_recognised_and_read(write, name, named):
    content, written, discarded = SAMPLES[name]
    found = parse_changes(write(content), format=name if named else None)
    assert found.written.tolist() == written
    assert found.discarded.tolist() == discarded


@pytest.mark.parametrize("name", SAMPLES)
def test_compressed_files_are_the_same(write, name):
    content, written, _ = SAMPLES[name]
    packed = gzip.compress(content.encode() if isinstance(content, str) else content)
    assert parse_changes(write(packed, "changes.gz")).written.tolist() == written


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "rbd_export"])
def test_what_powershell_writes_is_the_same(write, name):
    content, written, _ = SAMPLES[name]
    text = content.replace("\n", "\r\n").encode("utf-16")
    assert parse_changes(write(text)).written.tolist() == written


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_that_is_cut_off_is_refused_or_ends_at_a_line(write, name):
    """A table may end anywhere; everything else has an end."""
    content = SAMPLES[name][0].rstrip()
    for cut in range(20, len(content) - 1, 17):
        if name in ("rbd", "list"):
            continue
        with pytest.raises(SnapsimError, match="changes"):
            parse_changes(write(content[:cut]), format=name)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("other", SAMPLES)
def test_no_format_takes_the_file_of_another(write, name, other):
    pairs = {("list", "rbd"), ("list_json", "rbd_json")}
    if name == other or (name, other) in pairs:
        return
    with pytest.raises(TraceError):
        parse_changes(write(SAMPLES[other][0]), format=name)


def test_thin_delta_verbose_says_the_same(write):
    plain, verbose = (parse_changes(write(text)) for text in (THIN, THIN_VERBOSE))
    assert plain.written.tolist() == verbose.written.tolist()
    assert plain.discarded.tolist() == verbose.discarded.tolist()
    assert (plain.grain, plain.older, plain.newer) == (65536, "1", "2")


@pytest.mark.parametrize("version", [1, 2])
def test_export_diff_names_its_snapshots_and_its_size(write, version):
    found = parse_changes(write(export((b"w", 0, 3 << 20), (b"z", 4 << 20, 512), version=version)))
    assert (found.older, found.newer, found.capacity, found.whole) == ("one", "two", 64 * MIB, False)
    assert found.written.tolist() == [[0, 3 << 20]]
    assert parse_changes(write(export(older="", version=version))).whole


def test_pages_of_ebs_are_joined(write):
    pages = [ebs(0, token="x"), ebs(1, 2, token="y"), ebs(9)]
    for text in ("\n".join(pages), f"[{','.join(pages)}]"):
        found = parse_changes(write(text))
        assert found.written.tolist() == [[0, 3 * BLOCK], [9 * BLOCK, BLOCK]]
        assert (found.capacity, found.grain, found.whole) == (8 * GIB, BLOCK, False)


def test_parts_of_vmware_are_joined(write):
    parts = [vmware((0, 65536), length=MIB), vmware((MIB, 65536), begin=MIB, length=MIB)]
    found = parse_changes(write("\n".join(parts)))
    assert (found.capacity, found.written.tolist()) == (2 * MIB, [[0, 65536], [MIB, 65536]])
    assert parse_changes(write('{"StartOffset": 0, "Length": 4096}')).written.tolist() == []


@pytest.mark.parametrize(
    "text",
    ["0,4096\n8192,4096,true\n", "0;4096\n8192;4096;yes", "0 4096\n\n8192\t4096 1 # the end\n",
     "Length  Start  Zero\n------  -----  ----\n4096    0  0\n4096 8192   1\n",
     '"Start","Length","Zero"\n"0","4096","False"\n"8192","4096","True"\n',
     "[[0, 4096], [8192, 4096, true]]"],
)  # fmt: skip
def test_lists_as_people_save_them(write, text):
    found = parse_changes(write(text))
    assert (found.written.tolist(), found.discarded.tolist()) == ([[0, 4096]], [[8192, 4096]])


DAMAGED = {
    "thin_delta": [
        (THIN.replace('begin="2"', 'begin="-2"'), "line 4, begin of <different>: is '-2'"),
        (THIN.replace(' length="1"', "", 1), "line 5: <left_only> has no length"),
        (THIN.replace("<same", "<some"), "line 3: <some> inside <diff>"),
        (THIN.replace('"128"', '"0"'), "line 1: data_block_size is 0"),
        (THIN.replace('begin="9"', 'begin="4611686018427387904"'), "line 6.* beyond any disk"),
        ('<superblock data_block_size="128"/>', "has no <diff>"),
    ],
    "rbd": [
        (RBD.replace("zero", "nil"), "line 3: is"),
        (RBD.replace("0     ", "x     ", 1), "line 2, Offset: is 'x'"),
    ],
    "rbd_json": [
        (RBD_JSON.replace('"false"', "1"), r"entry 1, field exists"),
        (RBD_JSON.replace('"length": 1048576', '"size": 7'), "entry 1: has no field length"),
        (RBD_JSON.replace("1048576", "1.5"), "field length: is 1.5"),
        (RBD_JSON.replace("1048576", "true"), "field length: is True"),
        ("[" * 100_000, "nested too deeply|no JSON"),
        (RBD_JSON.replace("1048576", "1" * 5000), "line 1: holds a number that is beyond any disk"),
    ],
    "rbd_export": [
        (export((b"q", 0, 0)), "a record b'q'"),
        (export() + b"more", "something follows"),
        (export().replace(struct.pack("<Q", 64 * MIB), b"\xff" * 8), "a volume of .* beyond any disk"),
    ],
    "ebs": [
        (ebs(1, token="x"), "more pages follow"),
        (ebs(1) + ebs(2), "two listings"),
        (ebs(1).replace('"SecondBlockToken"', '"x"').replace("First", "F"), "neither"),
        (ebs(1).replace("524288", "0"), "more than 0"),
        (ebs(1).replace('"VolumeSize": 8, ', ""), "line 1: has no field VolumeSize"),
        (ebs(1, token="x") + ebs(2).replace('": 8', '": 9'), "differ"),
        (ebs(-1), r"ChangedBlocks\[0\], field BlockIndex: is -1"),
        (ebs(1 << 60), "beyond any disk"),
        (ebs(1).replace('"VolumeSize": 8', f'"VolumeSize": {1 << 60}'), "a volume of .* beyond any disk"),
    ],
    "vmware": [
        (vmware(begin=4096), "a part is missing"),
        (vmware((GIB, 65536)), r"changedArea\[0\]: 65536 bytes at 1073741824 lie outside"),
    ],
    "qemu_map": [
        (MAP.replace('"start": 65536', '"start": 65537'), "entry 1: starts at 65537"),
        (MAP.replace('"data": true', '"data": 1', 1), "entry 0, field data"),
    ],
    "list": [
        ("offset,length\n0,x\n", "line 2, length: is 'x'"),
        ("offset,bytes\n0,1\n", "line 1: 'bytes' is no column"),
        ("0,4096\n5\n", "line 2: has 1 fields"),
        ("0,4096,maybe\n", "line 1, zero: is 'maybe'"),
        ("# nothing\n", "no extents and no head"),
        (b"\xff0,1", "line 1: is not text"),
    ],
    "list_json": [
        ("[3]", "entry 0: is 3"),
        ('[{"offset": 1}]', "needs one column"),
        ("[[0]]", "has 1 fields"),
    ],
}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [(name, *one) for name, cases in DAMAGED.items() for one in cases],
    ids=[f"{name}-{place}" for name, cases in DAMAGED.items() for place in range(len(cases))],
)
def test_damage_is_named(write, name, content, message):
    with pytest.raises(TraceError, match=message) as told:
        parse_changes(write(content), format=name)
    assert "changes" in str(told.value)


@pytest.mark.parametrize("content", ["", "hello world\n", "<html></html>", '{"a": 1}', b"\x00\x01\x02\x03"])
def test_what_is_no_list_of_changes_is_refused(write, content):
    with pytest.raises((UnknownFormatError, TraceError), match="changes"):
        parse_changes(write(content))


@pytest.mark.parametrize("content", ["", " \n\n"])
def test_an_empty_file_is_called_empty(write, content):
    with pytest.raises(TraceError, match="is empty, as a command that failed leaves it"):
        parse_changes(write(content))


def test_an_unknown_format_is_named(write):
    with pytest.raises(UsageError, match=r"no format 'zfs'.*thin_delta"):
        parse_changes(write(RBD), format="zfs")
    with pytest.raises(TraceError, match="missing"):
        parse_changes("missing")


# --- thin_delta itself


def restored(folder, *devices):
    """Make a pool's metadata as a file: devices are mappings from thin block to data block."""
    body = "".join(
        f'<device dev_id="{number}" mapped_blocks="{len(device)}" transaction="0" '
        'creation_time="0" snap_time="0">'
        + "".join(
            f'<single_mapping origin_block="{block}" data_block="{data}" time="0"/>'
            for block, data in sorted(device.items())
        )
        + "</device>"
        for number, device in enumerate(devices, start=1)
    )
    head = '<superblock uuid="" time="0" transaction="1" flags="0" version="2" '
    head += 'data_block_size="256" nr_data_blocks="4096">'
    (folder / "pool.xml").write_text(f"{head}{body}</superblock>")
    with (folder / "meta").open("wb") as file:
        file.truncate(4 << 20)
    command = ["thin_restore", "-i", folder / "pool.xml", "-o", folder / "meta"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.integration
@pytest.mark.needs_program("thin_delta")
@pytest.mark.parametrize("verbose", [[], ["--verbose"]])
def test_what_thin_delta_says_is_what_differs(tmp_path, verbose):
    """Six snapshots of a volume that is written to and trimmed; lifetimes are those of the requests."""
    random, size, blocks = np.random.default_rng(7), 128 * KIB, 64
    pool, fresh, states, requests = {}, 0, [], []
    for epoch in range(6):
        for block in random.integers(0, blocks, 12).tolist():
            if epoch and random.random() < 0.3:
                pool.pop(block, None)
                requests.append((epoch, ss.types.DISCARD, block))
            else:
                pool[block], fresh = fresh, fresh + 1
                requests.append((epoch, ss.types.WRITE, block))
        states.append(dict(pool))
    restored(tmp_path, *states)
    files = [("2026-01-01", None)]
    for number in range(1, 6):
        command = [
            "thin_delta",
            *verbose,
            "--thin1",
            str(number),
            "--thin2",
            str(number + 1),
            tmp_path / "meta",
        ]
        path = tmp_path / f"{number}.xml"
        path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
        found = parse_changes(path)
        old, new = states[number - 1 : number + 1]
        assert covered(found.written, size) == {block for block in new if new[block] != old.get(block)}
        assert covered(found.discarded, size) == set(old) - set(new)
        files.append((f"2026-01-0{number + 1}", path))
    trace = read_changes(files, capacity=blocks * size)
    assert (trace.grain, trace.names) == (size, ("1", "2", "3", "4", "5", "6"))
    epoch, op, block = np.array(requests).T
    after = epoch > 0  # what came before the first snapshot, thin_delta does not say
    day = 86_400 * 10**9
    known = ss.Trace.from_arrays(
        (epoch[after] - 1) * day + day // 2, op[after], block[after] * size, np.full(after.sum(), size),
        capacity=blocks * size, start="2026-01-01",
    )  # fmt: skip
    held = [(block * size, size) for block in states[0]]
    one = ss.count_lifetimes(known, instants=trace.instants, block_size=size, initial=held)
    other = ss.count_lifetimes(trace, block_size=size, initial=held)
    assert_same(one, other)


def covered(table, size):
    return {
        block
        for offset, length in table.tolist()
        for block in range(offset // size, (offset + length) // size)
    }


def assert_same(one, other):
    """Versions that no snapshot sees are known to the trace alone."""
    policy = ss.Policy(schedule="@daily", keep_last=3)
    frames = [
        ss.growth(lifetimes, policy.timeline(lifetimes.instants), mechanism="dm-thin", bounds=False).frame
        for lifetimes in (one, other)
    ]
    assert frames[0].equals(frames[1]), frames[0].compare(frames[1])
    assert frames[0].lower_bytes.max() > 0


# --- several files


def test_a_series_becomes_a_change_trace(write):
    files = [
        ("2026-03-01", write(ebs(0, 1, name="Blocks"), "first")),
        ("2026-03-02T00:00+01:00", write(ebs(1, gone=[0]), "second")),
    ]
    trace = read_changes(files)
    assert trace.initial == ((0, 2 * BLOCK),)
    assert (trace.capacity, trace.grain) == (8 * GIB, BLOCK)
    assert np.diff(trace.instants).tolist() == [23 * 3600 * 10**9]
    none, second = trace.changes()
    assert none is None
    assert second.written.tolist() == [[BLOCK, BLOCK]]
    assert second.discarded.tolist() == [[0, BLOCK]]
    assert read_changes([("2026-03-01", None), files[1]]).initial is None
    before = read_changes([("2026-02-01", files[1][1]), ("2026-03-02", files[1][1])])
    assert before.initial is None
    assert len(before) == 4  # changes up to the first snapshot are changes, too


def test_what_is_not_told_has_to_be_given(write):
    series = [("2026-03-01", None), ("2026-03-02", write(RBD))]
    with pytest.raises(UsageError, match="how large the volume is"):
        read_changes(series)
    trace = read_changes(series, capacity="1GiB")
    assert trace.grain == MIB
    assert "all extents fit 1 MiB" in " ".join(trace.info.notes)
    assert read_changes(series, capacity="1GiB", grain="4MiB").grain == 4 * MIB
    to_the_end = [("2026-03-01", None), ("2026-03-02", write(f"65536,{MIB + 512 - 65536}\n", "end"))]
    assert read_changes(to_the_end, capacity=MIB + 512).grain == 65536
    odd = [("2026-03-01", None), ("2026-03-02", write("0,4097\n", "odd"))]
    with pytest.raises(UsageError, match="fit no unit"):
        read_changes(odd, capacity="1GiB")
    (_, change) = read_changes(odd, capacity="1GiB", grain="4KiB").changes()
    assert change.written.tolist() == [[0, 8192]]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ([("2026-03-01", None), ("2026-03-02", None)], {}, "no file says what changed"),
        ([("2026-03-01", THIN), ("2026-03-02", None)], {}, "only what came before the first"),
        ([("2026-03-01", None), ("2026-03-02", ebs(1, name="Blocks"))], {}, "lists all that"),
        ([("2026-03-01", MAP), ("2026-03-02", MAP.replace(": 1,", ": 0,"))], {}, "lists all that"),
        ([("2026-03-02", None), ("2026-03-01", ebs(1))], {}, "not after"),
        ([("2026-03-01", THIN), ("2026-03-02", THIN)], {"capacity": "1GiB"}, "since snapshot 1"),
        ([("2026-03-01", None), ("2026-03-02", ebs(1))], {"capacity": "1GiB"}, "the volume has"),
        ([("2026-03-01", None), ("2026-03-02", vmware())], {"capacity": "2GiB"}, "the rest is missing"),
        ([("2026-03-01", THIN), ("2026-03-02", ebs(1))], {}, "units of 64 KiB, 512 KiB: give"),
        ([("2026-03-01", ebs(1)), ("2026-03-02", RBD)], {}, "of 512 KiB, and some do not say in which: give"),
        ([("2026-03-01", None), ("2026-03-02", ebs(1))], {"grain": "4KiB"}, "give a multiple of that"),
        ([("2026-03-01", ebs(1)), ("2026-03-02", RBD)], {"grain": "256KiB"}, "in units of 512 KiB"),
        ([("2026-03-01", THIN), ("2026-03-02", ebs(1))], {"grain": 192 * KIB}, "in units of 64 KiB, 512 KiB"),
        ([("2026-03-01", None), ("2026-03-02", THIN)], {"capacity": "64KiB"}, "beyond the volume"),
        ([("yesterday", None), ("2026-03-02", THIN)], {"capacity": "64MiB"}, "not a point in time"),
        ([("2026-03-01", None), ("2026-03-02", THIN)], {"capacity": "1MiB", "grain": 0}, "at least one byte"),
    ],
)  # fmt: skip
def test_a_series_that_cannot_be(write, files, options, message):
    series = [(when, text and write(text, f"changes{place}")) for place, (when, text) in enumerate(files)]
    with pytest.raises(SnapsimError, match=message):
        read_changes(series, **options)


def test_a_volume_that_grew(write):
    parts = [write(vmware((0, 65536), length=size), f"of {size}") for size in (MIB, 2 * MIB)]
    series = [("2026-03-01", None), ("2026-03-02", parts[0]), ("2026-03-03", parts[1])]
    assert read_changes(series).capacity == 2 * MIB


def test_a_first_map_tells_what_the_first_snapshot_holds(write):
    trace = read_changes([("2026-03-01", write(MAP)), ("2026-03-02", write(MAP, "next"))])
    assert trace.initial == ((0, 131072),)
    assert (trace.capacity, trace.grain) == (262144, 65536)


def test_a_map_names_no_layer_behind_the_end_of_the_one_below(write):
    beyond = {"start": 262144, "length": 65536, "depth": 0, "present": False, "zero": True, "data": False}
    found = parse_changes(write(json.dumps([*json.loads(MAP), beyond])))
    assert (found.discarded.tolist(), found.capacity) == ([[131072, 65536]], 327680)


extents = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 20)), max_size=6)


@given(extents, extents, st.sampled_from([1, 4, 7, 16]), st.integers(100, 120))
def test_extents_are_widened_byte_by_byte(written, discarded, grain, capacity):
    """A block is discarded when all of it is, and changed when anything in it is."""
    written = [(start, min(length, capacity - start)) for start, length in written]
    discarded = [(start, min(length, capacity - start)) for start, length in discarded]
    found = to_grain(
        ChangeFile(*(np.array(table, np.int64).reshape(-1, 2) for table in (written, discarded))),
        grain,
        capacity,
    )
    changed, gone = (
        {byte for start, length in table for byte in range(start, start + length)}
        for table in (written, discarded)
    )
    trace = ss.ChangeTrace.from_changes([0, 1], [None, found], capacity=capacity, grain=grain)
    _, told = trace.changes()
    for first in range(0, capacity, grain):
        block = set(range(first, min(first + grain, capacity)))
        expected = (
            "changed" if block & changed else "gone" if block <= gone else "changed" if block & gone else ""
        )
        got = [
            name
            for name, table in (("changed", told.written), ("gone", told.discarded))
            if any(start <= first < start + length for start, length in table.tolist())
        ]
        assert got == ([expected] if expected else [])


# --- long files


@pytest.fixture
def in_parts_of(monkeypatch):
    def read(size):
        for module in (parts, thin_delta):
            monkeypatch.setattr(module, "_CHUNK", size)

    return read


@pytest.mark.parametrize("size", [2, 3, 7, 64])
@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "rbd_export"])
def test_where_a_part_of_a_file_ends_does_not_matter(write, in_parts_of, name, size):
    content, written, discarded = SAMPLES[name]
    in_parts_of(size)
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        for ends in ("\n", "\r\n"):
            found = parse_changes(write(content.replace("\n", ends).encode(encoding)), format=name)
            assert (found.written.tolist(), found.discarded.tolist()) == (written, discarded)
    for tail in (b"\xe2", b"\xe2\x82", b"\xff"):
        with pytest.raises(TraceError):
            parse_changes(write(content.rstrip().encode() + tail), format=name)


def long_file(name, n):
    """Return n extents, each of which goes on where the one before ends."""
    match name:
        case "thin_delta":
            rows = "".join(f'<different begin="{row}" length="1"/>\n' for row in range(n))
            return f'<superblock data_block_size="128"><diff>{rows}</diff></superblock>'
        case "rbd":
            return "Offset Length Type\n" + "".join(f"{row * 4096} 4096 data\n" for row in range(n))
        case "rbd_json":
            rows = ({"offset": row * 4096, "length": 4096, "exists": "true"} for row in range(n))
            return json.dumps(list(rows))
        case "ebs":
            pages = (ebs(row, row + 1, token="x" if row + 2 < n else None) for row in range(0, n, 2))
            return "\n".join(pages)
        case "vmware":
            return "\n".join(vmware((row * 4096, 4096), begin=row * 4096, length=4096) for row in range(n))
        case "qemu_map":
            flags = {"depth": 0, "present": True, "zero": False, "data": True}
            return json.dumps([{"start": row * 4096, "length": 4096, **flags} for row in range(n)])
        case "list":
            return "offset,length\n" + "".join(f"{row * 4096},4096\n" for row in range(n))
        case "list_json":
            return json.dumps([[row * 4096, 4096] for row in range(n)])


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "rbd_export"])
def test_memory_does_not_follow_the_file(write, in_parts_of, name):
    n = 10_000
    path = write(long_file(name, n))
    in_parts_of(4096)
    parse_changes(write(long_file(name, 10), "warm"), format=name)
    tracemalloc.start()
    try:
        found = parse_changes(path, format=name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.written[:, 1].tolist() == [n * (found.grain or 4096)]
    assert peak < 100_000 < path.stat().st_size


def test_a_line_without_an_end_is_refused(write):
    with pytest.raises(TraceError, match="line 2: is longer than any line of a list"):
        parse_changes(write("offset,length\n" + "1" * (3 << 20)), format="list")


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_bytes_are_read_or_refused_in_a_sentence(write, name):
    random = np.random.default_rng(5)
    content = SAMPLES[name][0]
    content = content.encode() if isinstance(content, str) else content
    for _ in range(300):
        data = bytearray(content)
        for place in random.integers(0, len(data), 3).tolist():
            data[place] = int(random.integers(256))
        path = write(bytes(data))
        for format_ in (name, None):
            try:
                said = ""
                negative = (parse_changes(path, format=format_).written < 0).any()
            except TraceError as error:
                said, negative = str(error), False
            assert not negative
            assert not said or str(path) in said
