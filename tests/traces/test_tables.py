"""Formats that are tables of text: good lines, damaged lines, headers, units."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import TraceError, UsageError
from snapsim.traces.formats import open_trace, read_trace, sniff
from snapsim.traces.readers import delimited
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES
from snapsim.units import SECOND

# text, absolute start [ns] or None, volumes, requests as (time, op, offset, length, volume code)
SAMPLES = {
    "msr": (
        (
            "128166372003061629,usr,0,Read,7014609920,24576,41286\n"
            "128166372016382155,usr,1,Write,8192,4096,1200\n"
        ),
        1_172_163_600_306_162_900,
        ("usr_0", "usr_1"),
        [(0, READ, 7_014_609_920, 24_576, 0), (1_332_052_600, WRITE, 8_192, 4_096, 1)],
    ),
    "systor": (
        (
            "Timestamp,Response,IOType,LUN,Offset,Size\n"
            "1456095145.133076001,0.000806000,R,0,899056122368,131072\n"
            "1456095145.133080000,,,3,4096,\n"
            "1456095146.000000000,,W,3,4096,512\n"
        ),
        1_456_095_145_133_076_001,
        ("0", "3"),
        [(0, READ, 899_056_122_368, 131_072, 0), (866_923_999, WRITE, 4_096, 512, 1)],
    ),
    "alibaba": (
        "0,R,126703644672,4096,1577808000000626\n7,W,8192,16384,1577808000000700\n",
        1_577_808_000_000_626_000,
        ("0", "7"),
        [(0, READ, 126_703_644_672, 4_096, 0), (74_000, WRITE, 8_192, 16_384, 1)],
    ),
    "tencent": (
        "1538323199,1003027216,16,0,2313\n1538323199,105352008,584,1,1576\n1538323200,12910952,128,0,2313\n",
        1_538_323_199 * SECOND,
        ("2313", "1576"),
        [
            (0, READ, 1_003_027_216 * 512, 16 * 512, 0),
            (0, WRITE, 105_352_008 * 512, 584 * 512, 1),
            (SECOND, READ, 12_910_952 * 512, 128 * 512, 0),
        ],
    ),
    "spc": (
        (
            "0,20941264,8192,W,0.551706,Alpha/NT\n"
            "1, 3436288, 15872, w, 1.250720, 0x123, 5.99, test\n"
            "8,21888,32768,r,2077.065185\n"
        ),
        None,
        ("0", "1", "8"),
        [
            (0, WRITE, 20_941_264 * 512, 8_192, 0),
            (699_014_000, WRITE, 3_436_288 * 512, 15_872, 1),
            (2_076_513_479_000, READ, 21_888 * 512, 32_768, 2),
        ],
    ),
    "cloudphysics-csv": (
        (
            "version,time,op,size,lbn\n"
            "1,5633898,2a,512,42932745\n1,5633899,28,4096,8\n1,5633899,12,36,0\n1,5633900,42,1024,16\n1,5633901,35,0,0\n"
        ),
        None,
        ("",),
        [
            (0, WRITE, 42_932_745 * 512, 512),
            (SECOND, READ, 8 * 512, 4_096),
            (2 * SECOND, DISCARD, 16 * 512, 1_024),
            (3 * SECOND, FLUSH, 0, 0),
        ],
    ),
    "octf": (
        (
            "ts_ns,op,lba512,len512,flush,fua,device,ioclass,metadata,writehint\n"
            "0,W,1652296,256,0,0,271581186,19,0,0\n35081,D,8,64,0,0,271581186,19,0,0\n40000,W,0,0,1,0,271581186,0,0,0\n"
        ),
        None,
        ("271581186",),
        [(0, WRITE, 1_652_296 * 512, 256 * 512), (35_081, DISCARD, 4_096, 32_768), (40_000, FLUSH, 0, 0)],
    ),
    "disksim": (
        "0.000000 0 303567 7 0\n12.345678 1 55590 6 1\n",
        None,
        ("0", "1"),
        [(0, WRITE, 303_567 * 512, 3_584, 0), (12_345_678, READ, 55_590 * 512, 3_072, 1)],
    ),
    "ssdsim": (
        "0 0 303567 7 0\n26214000 1 240840 6 1\n",
        None,
        ("",),
        [(0, WRITE, 303_567 * 512, 3_584), (26_214_000, READ, 240_840 * 512, 3_072)],
    ),
    "csv": (
        "time_us,op,sector,length,device\n10.5,write,8,512,sda\n11,READ,16,4096,sdb\n12,write_zeroes,0,512,sda\n",
        None,
        ("sda", "sdb"),
        [(0, WRITE, 4_096, 512, 0), (500, READ, 8_192, 4_096, 1), (1_500, WRITE_ZEROES, 0, 512, 0)],
    ),
}  # fmt: skip


def rows(trace):
    return [
        row
        for batch in trace.batches()
        for row in zip(*(column.tolist() for column in batch if column is not None), strict=True)
    ]


def written(tmp_path, text, name="x.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("opener", [read_trace, open_trace])
def test_every_format_is_recognised_and_read(tmp_path, name, opener):
    text, start, volumes, expected = SAMPLES[name]
    path = written(tmp_path, text)
    assert sniff(path) == name
    trace = opener(path)
    assert (trace.info.format, trace.info.start_ns, trace.volumes) == (name, start, volumes)
    assert rows(trace) == expected
    assert trace.info.dropped_lines == 0


@pytest.mark.parametrize("name", SAMPLES)
def test_line_ends_blank_lines_and_a_missing_last_one_make_no_difference(tmp_path, name):
    text = SAMPLES[name][0]
    plain = read_trace(written(tmp_path, text))
    for other in (
        text.replace("\n", "\r\n"),
        text[:-1],
        "\ufeff" + text,
        text.replace("\n", "\n\n"),
        text + "\n\n",
    ):
        trace = read_trace(written(tmp_path, other))
        assert rows(trace) == rows(plain)
        assert trace.info.dropped_lines == 0


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(
    "junk", ["garbage", "1,2", "1 2 3 4 5 6 7 8 9 x", "\x00\x01\x02", ",,,,,,,,,,,,", "a\rb"]
)
def test_a_junk_line_is_damage_with_its_number(tmp_path, name, junk):
    text = SAMPLES[name][0]
    lines = text.splitlines()
    number = len(lines)
    path = written(tmp_path, "\n".join([*lines[:-1], junk, lines[-1], ""]))
    trace = read_trace(path, format=name, damage_limit=0.5)
    assert rows(trace) == rows(read_trace(written(tmp_path, text, "y.csv")))
    assert trace.info.dropped_lines == 1
    assert (trace.info.drops[0].file, trace.info.drops[0].line) == ("x.csv", number)


def test_requests_without_a_response_are_skipped_not_damaged(tmp_path):
    trace = read_trace(written(tmp_path, SAMPLES["systor"][0]))
    assert (trace.info.skipped_lines, trace.info.dropped_lines) == (2, 0)
    assert trace.info.skipped_kinds == {"header": 1, "no response": 1}
    assert trace.info.notes == ()
    latency = next(trace.batches(columns=["latency_ns"])).latency_ns
    assert latency.tolist() == [806_000, -1]


def test_other_scsi_commands_are_skipped(tmp_path):
    trace = read_trace(written(tmp_path, SAMPLES["cloudphysics-csv"][0]))
    assert trace.info.skipped_kinds["SCSI command 0x12"] == 1


def test_scsi_commands_in_text_are_what_they_are_in_binary(tmp_path):
    commands = ("1,5,42,24,0", "1,5,42,4096,8", "1,5,35,8,16", "1,6,8e,512,24", "1,7,93,512,32")
    trace = read_trace(written(tmp_path, "version,time,op,size,lbn\n" + "\n".join(commands) + "\n"))
    assert [row[1:4] for row in rows(trace)] == [
        (DISCARD, 4096, 4096),
        (FLUSH, 0, 0),
        (WRITE, 24 * 512, 512),
        (WRITE_ZEROES, 32 * 512, 512),
    ]
    assert trace.info.skipped_kinds["UNMAP without its extent"] == 1
    assert [word for word in ("UNMAP", "WRITE SAME") if any(word in note for note in trace.info.notes)] == [
        "UNMAP",
        "WRITE SAME",
    ]


def test_filetimes_keep_every_tick(tmp_path):
    text = "".join(f"{128166372003061629 + tick},h,0,Write,0,512,1\n" for tick in range(100))
    assert [row[0] for row in rows(read_trace(written(tmp_path, text)))] == [
        100 * tick for tick in range(100)
    ]


def test_msr_variants(tmp_path):
    header = "Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime\n"
    text = SAMPLES["msr"][0]
    trace = read_trace(written(tmp_path, header + text + header + text))
    assert (len(trace), trace.info.skipped_lines) == (4, 2)
    latency = next(trace.batches(columns=["latency_ns"])).latency_ns
    assert latency.tolist() == [4_128_600, 4_128_600, 120_000, 120_000]
    trimmed = "".join(line.rpartition(",")[0] + "\n" for line in text.splitlines())
    trace = read_trace(written(tmp_path, trimmed))
    assert rows(trace) == SAMPLES["msr"][3]
    assert next(trace.batches(columns=["latency_ns"])).latency_ns.tolist() == [-1, -1]


def test_alibaba_capacities_lie_beside_the_trace(tmp_path):
    written(tmp_path, "device_id,capacity\n0,1099511627776\n9,5\n", "device_size.csv")
    path = written(tmp_path, SAMPLES["alibaba"][0])
    for place in (path, tmp_path):
        assert read_trace(place).info.capacities == (1 << 40, None)
    beyond = written(tmp_path, "0,W,1099511627776,512,1577808000000700\n" + SAMPLES["alibaba"][0])
    trace = read_trace(beyond, damage_limit=0.5)
    assert [str(drop) for drop in trace.info.drops] == [
        "x.csv, line 1, offset: 1099511627776 plus length lies beyond the capacity"
    ]
    written(tmp_path, "device_id,capacity\n0,huge\n", "device_size.csv")
    with pytest.raises(
        TraceError, match=r"device_size.csv, line 2: '0,huge' is not a device and its capacity"
    ):
        read_trace(path)


def test_flag_and_devices_of_the_simulators_are_options(tmp_path):
    path = written(tmp_path, SAMPLES["ssdsim"][0])
    trace = read_trace(path, flag="1=write", devices="volume")
    assert [row[1] for row in rows(trace)] == [READ, WRITE]
    assert trace.volumes == ("0", "1")
    assert (trace.info.options["flag"], trace.info.options["devices"]) == ("1=write", "volume")
    assert any("device column is ignored" in note for note in read_trace(path).info.notes)
    assert read_trace(path, format="mqsim").info.format == "mqsim"
    assert rows(read_trace(path, format="disksim", devices="ignore"))[1][0] == 26_214_000_000_000
    for options in ({"flag": "2=read"}, {"devices": "some"}):
        with pytest.raises(UsageError, match="is unknown: choose from"):
            read_trace(path, **options)


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ("128166372003061630,h,0,Write,1.5,512,1", "Offset", "'1.5' is not a whole number"),
        ("128166372003061630,h,0,Write,1e3,512,1", "Offset", "'1e3' is not a whole number"),
        ("128166372003061630,h,0,Write,,512,1", "Offset", "is empty"),
        (
            "128166372003061630.0,h,0,Write,0,512,1",
            "Timestamp",
            "'128166372003061630.0' is not a whole number",
        ),
        ("128166372003061630,h,0,Write,99999999999999999999,512,1", "Offset", "does not fit into 63 bits"),
        ("128166372003061630,h,0,Erase,0,512,1", "Type", "'Erase' is none of Read, Write"),
        ("128166372003061630,h,0", "Type", "is missing: the line has only 3 fields"),
        ("128166372003061630,h,0,Write,0,512,1,9,9", "line", "has 9 fields where at most 7 are expected"),
        ("128166372003061630,h,0,Write,0,0,1", "length", "0 is zero"),
        ("128166372003061630,h,0,Write,-512,512,1", "offset", "-512 is negative"),
        ("128166372003061630,h,0,Write,0,-1,1", "length", "-1 is negative"),
        ("128166372003061630,h,0,Write,9223372036854775000,4096,1", "length", "4096 reaches past 2^63 bytes"),
        ("128966372003061630,h,0,Write,0,512,1", "time", "is more than a year away"),
        ("127166372003061630,h,0,Write,0,512,1", "time", "is more than a year away"),
        ("1281663720030616,h,0,Write,0,512,1", "time", "does not fit into 63 bits"),
        ("9128166372003061630,h,0,Write,0,512,1", "time", "does not fit into 63 bits"),
    ],
)
@pytest.mark.parametrize("opener", [read_trace, open_trace])
def test_damaged_lines_are_reported_with_file_line_field_and_reason(tmp_path, line, field, reason, opener):
    good = [f"{128166372003061629 + tick},h,0,Write,4096,512,1" for tick in range(2500)]
    trace = opener(written(tmp_path, "\n".join([*good[:1700], line, *good[1700:], ""])))
    assert len(trace) == 2500
    assert trace.info.dropped_lines == 1
    drop = trace.info.drops[0]
    assert (drop.file, drop.line) == ("x.csv", 1701)
    assert drop.field == field
    assert reason in drop.reason


LINES = st.lists(
    st.one_of(
        st.builds("1538323{:03d},{},8,1,7".format, st.integers(0, 999), st.integers(0, 10**9)),
        st.sampled_from(
            [
                "",
                "junk",
                "1,2,3",
                "1538323199,1.0,8,1,7",
                "1538323199,5,8,3,7",
                "1538323199,1E+05,8,1,7",
                "# x",
            ]
        ),
    ),
    max_size=40,
)


@given(LINES, st.integers(1, 5), st.integers(20, 400))
def test_however_the_lines_are_cut_the_same_ones_are_good(tmp_path_factory, lines, few, size):
    from snapsim.traces.readers import base, tencent
    from snapsim.traces.source import Source

    path = tmp_path_factory.mktemp("cut") / "x.csv"
    path.write_text("\n".join(lines))
    reader = tencent.READERS[0]
    log = base.ReadLog()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_FEW_LINES", few)
        patch.setattr(Source.chunks, "__defaults__", (size,))
        raws = list(reader.read(Source(path), log, base.Options(reader.units)))
    good = {
        number
        for number, line in enumerate(lines, start=1)
        if line.startswith("1538323") and "." not in line and "E" not in line and ",3,7" not in line
    }
    bad = {
        number for number, line in enumerate(lines, start=1) if line and number not in good and line[0] != "#"
    }
    assert [line for raw in raws for line in raw.line.tolist()] == sorted(good)
    assert log.dropped == len(bad)
    assert {drop.line for drop in log.drops} <= bad


def test_columns_of_any_table_can_be_named(tmp_path):
    text = "when;who;kind;begin;many\n0.001;vm1;o;8;1\n0.002;vm2;i;16;2\n"
    path = written(tmp_path, text)
    options = {
        "format": "csv", "separator": "semicolon", "ops": "o=write,i=read",
        "columns": "time=when,op=kind,offset=begin,length=many,volume=who",
        "time_unit": "s", "address_unit": "512B", "length_unit": "4KiB",
    }  # fmt: skip
    expected = [(0, WRITE, 4_096, 4_096, 0), (1_000_000, READ, 8_192, 8_192, 1)]
    trace = read_trace(path, **options)
    assert (rows(trace), trace.volumes, trace.info.start_ns) == (expected, ("vm1", "vm2"), None)
    by_mapping = {
        **options,
        "columns": {"time": "when", "op": "kind", "offset": "begin", "length": "many", "volume": "who"},
    }
    assert rows(read_trace(path, **by_mapping, clock="unix")) == expected
    assert read_trace(path, **options, clock="unix").info.start_ns == 1_000_000
    numbers = {**options, "columns": "time=1,op=3,offset=4,length=5,volume=2"}
    assert rows(read_trace(path, **numbers)) == expected
    headless = written(tmp_path, text.partition("\n")[2], "y.csv")
    assert rows(read_trace(headless, **numbers)) == expected
    spaces = written(tmp_path, text.partition("\n")[2].replace(";", "  "), "z.csv")
    assert rows(read_trace(spaces, **{**numbers, "separator": "space"})) == expected


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TraceError, "has no column that is known to be the op: name the columns"),
        ({"columns": "time=t"}, UsageError, "'op' is missing"),
        (
            {"columns": "time=t,op=o,offset=x,length=l"},
            TraceError,
            "x.csv has no column 'x': its first line has t, o",
        ),
        ({"columns": "time=t,op=o,offset=b,length=l,mood=t"}, UsageError, "'mood' is no role"),
        ({"columns": "nonsense"}, UsageError, "cannot be read: write it like"),
        ({"columns": "time=t,op=o,offset=b,length=l", "ops": "x=burn"}, UsageError, "'burn' is no op"),
        ({"columns": "time=t,op=o,offset=b,length=l", "clock": "sun"}, UsageError, "clock='sun' is unknown"),
        ({"separator": "||"}, UsageError, r"separator='\|\|' is unknown"),
    ],
)
def test_columns_that_cannot_be_found_are_named(tmp_path, options, error, message):
    path = written(tmp_path, "t,o,b,l,time_ns\n0,read,0,512,0\n")
    with pytest.raises(error, match=message):
        read_trace(path, format="csv", **options)


def test_volumes_are_demultiplexed_in_one_pass(tmp_path):
    lines = [
        f"{device},W,{4096 * number},4096,{1577808000000000 + number}"
        for number in range(50)
        for device in range(4)
    ]
    path = tmp_path / "all.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    whole = read_trace(path)
    assert [len(whole.select(volume=str(device))) for device in range(4)] == [50] * 4
    some = read_trace(path, volume=["3", 1])
    assert some.volumes == ("1", "3")
    assert some.fingerprint == whole.select(volume=["1", "3"]).fingerprint
    assert open_trace(path, volume=2).info == read_trace(path, volume=2).info
