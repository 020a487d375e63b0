"""Any file in: recognised, or refused by name; units, shifts, compression, several files, damage."""

import bz2
import gzip
import lzma
import os
import struct
import tarfile
import zipfile

import pytest
import zstandard

from snapsim.errors import (
    DamagedTraceError,
    RefusedFileError,
    StoreError,
    TraceError,
    UnitError,
    UnknownFormatError,
    UsageError,
    VolumeSelectionError,
)
from snapsim.traces import formats, store
from snapsim.traces.formats import convert_trace, open_trace, read_trace, sniff
from snapsim.types import WRITE

START = 128166372003061629


def msr(count, *, first=0, host="h", size=4096):
    return "".join(
        f"{START + 10_000_000 * second},{host},0,Write,{4096 * second},{size},7\n"
        for second in range(first, first + count)
    )


@pytest.fixture
def write(tmp_path):
    def write(data, name="x.csv"):
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


def columns(trace):
    return [
        row for batch in trace.batches() for row in zip(*(part.tolist() for part in batch[:4]), strict=True)
    ]


@pytest.mark.parametrize("name", formats.FORMATS)
def test_every_name_has_its_reader(name):
    reader = formats.reader(name)
    assert reader.name == name
    assert reader.title
    assert formats.reader(name.upper().replace("-", "_")) is reader


def test_the_list_of_formats_is_for_people():
    listed = {one.name: one for one in formats.formats()}
    assert tuple(listed) == formats.FORMATS
    assert listed["msr"].units == "time 100ns, addresses 1 B, lengths 1 B"
    assert "action" in listed["blkparse"].options


COMPRESSIONS = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": lambda data: zstandard.compress(data[:1000]) + zstandard.compress(data[1000:]),
}


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_compression_is_told_by_content(write, kind):
    plain = read_trace(write(msr(2000)))
    packed = COMPRESSIONS[kind](msr(2000).encode())
    for name in (f"x.csv.{kind}", "x.csv", "misnamed.gz"):
        assert read_trace(write(packed, name)).fingerprint == plain.fingerprint
    with pytest.raises(TraceError, match=r"cut.csv is cut off: its compressed data ends too early"):
        read_trace(write(packed[:-9], "cut.csv"))
    middle = len(packed) // 2
    with pytest.raises(TraceError, match=r"bad.csv (cannot be decompressed|is cut off)|line \d"):
        read_trace(write(packed[:middle] + b"\x55" * 64 + packed[middle + 64 :], "bad.csv"))


ORACLE = b"".join(struct.pack("<IQIq", 5 + number, 42 * number, 4096, -1) for number in range(50))
SPREADSHEET = "128166465299039000\tRead\t32256\t8192\n128166465299119000\tRead\t1.82083E+11\t4096\n"


def tarred(text):
    import io

    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = tarfile.TarInfo("x.csv")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


def zipped(text):
    import io

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("x.csv", text)
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "x.csv is empty"),
        (" \n\n", "x.csv is empty"),
        (gzip.compress(b""), "x.csv is empty"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "x.csv is a Git LFS pointer"),
        (SPREADSHEET, "x.csv was damaged by a spreadsheet: line 2 has 1.82083E+11 where a number belongs"),
        (
            msr(30).replace("629,h", "000,h"),
            "x.csv was damaged by a spreadsheet: its times were rounded to 15 digits",
        ),
        (
            ORACLE,
            "x.csv is a libCacheSim oracleGeneral trace, which does not say what is read and what is written",
        ),
        (zstandard.compress(ORACLE), "x.csv is a libCacheSim oracleGeneral trace"),
        (zipped(msr(3)), "x.csv is a zip archive"),
        (tarred("hello"), "x.csv is a tar archive: unpack it"),
        (msr(3).encode("utf-16"), "x.csv is UTF-16 text"),
        ("<!DOCTYPE html>\n<html><body>404</body></html>\n", "x.csv is a web page"),
    ],
)
def test_what_is_no_trace_is_refused_by_name(write, data, message):
    path = write(data)
    for opener in (sniff, read_trace, open_trace):
        with pytest.raises(RefusedFileError) as error:
            opener(path)
        assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz", "X.TAR.ZST"])
def test_an_archive_of_a_trace_is_not_read_as_if_it_were_the_trace(write, name):
    data = tarred(msr(3000))
    path = write(gzip.compress(data) if name.endswith("gz") else data, name)
    for options in ({}, {"format": "msr"}):
        with pytest.raises(RefusedFileError, match="is a tar archive: unpack it"):
            read_trace(path, **options)


def test_a_pipe_is_refused_because_it_can_be_read_only_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TraceError, match="pipe is not a file"):
        read_trace(tmp_path / "pipe")


@pytest.mark.parametrize("data", ["", SPREADSHEET, "version https://git-lfs.github.com/spec/v1\n", ORACLE])
def test_naming_a_format_does_not_get_them_in(write, data):
    with pytest.raises(RefusedFileError):
        read_trace(write(data), format="msr")


def test_unknown_and_ambiguous_files_name_the_candidates(write, monkeypatch):
    path = write("once upon a time\nthere was a disk\n")
    with pytest.raises(UnknownFormatError, match=r"is in no known format: .* one of msr, systor"):
        read_trace(path)
    with pytest.raises(UnknownFormatError, match="format 'nonsense' is unknown: choose from msr, systor"):
        read_trace(path, format="nonsense")
    monkeypatch.setattr(type(formats.reader("mqsim")), "sniff", lambda _self, head, _name: b"1 2 3" in head)
    with pytest.raises(UnknownFormatError, match="could be ssdsim or mqsim: say which with format='ssdsim'"):
        read_trace(write("0 1 2 3 0\n5 1 2 3 1\n"))
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        read_trace(path.with_name("missing.csv"))


def test_a_coarse_clock_is_no_spreadsheet(write):
    text = "".join(f"{128166372000000000 + 10_000 * tick},h,0,Write,0,512,1\n" for tick in range(100))
    assert read_trace(write(text)).span_ns == 99 * 10**6


def test_units_can_be_overridden(write):
    path = write("0 0 8 8 0\n5 0 16 8 0\n")
    assert columns(read_trace(path)) == [(0, 1, 4096, 4096), (5, 1, 8192, 4096)]
    trace = read_trace(path, time_unit="us", address_unit="4KiB", length_unit="1")
    assert columns(trace) == [(0, 1, 32768, 8), (5000, 1, 65536, 8)]
    assert trace.info.options["time_unit"] == "1us"
    assert trace.info.options["address_unit"] == "4 KiB"
    assert trace.info.options["length_unit"] == "1 B"
    assert columns(read_trace(path, time_unit="100ns", address_unit="sector"))[1][0] == 500
    for options in (
        {"time_unit": "fortnight"},
        {"time_unit": "1h"},
        {"address_unit": "0"},
        {"length_unit": "x"},
    ):
        with pytest.raises(UnitError):
            read_trace(path, **options)


def test_what_overflows_under_a_unit_is_damage(write):
    trace = read_trace(write(msr(2000) + f"{START},h,0,Write,{2**60},512,1\n"), address_unit="4KiB")
    assert len(trace) == 2000
    assert str(trace.info.drops[0]) == "x.csv, line 2001, offset: the value does not fit into 63 bits"


def test_options_of_other_formats_are_refused(write):
    with pytest.raises(UsageError, match="format msr has no option 'action': its own options are none"):
        read_trace(write(msr(3)), action="Q")
    with pytest.raises(UsageError, match="damage_limit=2"):
        read_trace(write(msr(3)), damage_limit=2)
    with pytest.raises(UsageError, match="no file to read"):
        read_trace([])


def test_a_shift_leaves_flushes_where_they_are(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("time,op,offset,length\n1,write,8192,4096\n2,flush,0,0\n")
    names = "time=time,op=op,offset=offset,length=length"
    trace = read_trace(path, format="csv", columns=names, shift=-4096, damage_limit=0)
    assert [row[1:] for row in columns(trace)] == [(1, 4096, 4096), (4, 0, 0)]


def test_a_shift_undoes_a_partition_offset(write):
    path = write("0 0 7 8 0\n5 0 15 8 0\n")
    trace = read_trace(path, shift="512B")
    assert columns(trace) == [(0, 1, 4096, 4096), (5, 1, 8192, 4096)]
    assert trace.info.shift_bytes == 512
    back = read_trace(path, shift="-3584B")
    assert columns(back) == [(0, 1, 0, 4096), (5, 1, 4096, 4096)]
    assert columns(read_trace(path, shift=-3584)) == columns(back)
    assert read_trace(path, shift=512, capacity="12KiB").capacity == 12 * 1024 + 512
    with pytest.raises(DamagedTraceError, match="line 1, offset: -512 is negative"):
        read_trace(path, shift=-4096)


def test_capacity_and_start_are_taken_from_the_caller(write):
    trace = read_trace(write(msr(3)), capacity="1GiB", start="2026-01-01")
    assert (trace.capacity, trace.capacity_known, trace.start_ns) == (1 << 30, True, 1_767_225_600 * 10**9)
    by_name = read_trace(write(msr(3)), capacity={"h_0": "1GiB", "elsewhere_0": 5})
    assert by_name.capacity == 1 << 30
    with pytest.raises(DamagedTraceError, match="plus length lies beyond the capacity"):
        read_trace(write(msr(3)), capacity=4096)


def test_damage_is_limited_to_a_share_of_all_lines(write):
    lines = msr(3000).splitlines(keepends=True)
    for bad in (10, 1500, 2999):
        lines[bad] = "x\n"
    assert read_trace(write("".join(lines))).info.dropped_lines == 3  # three in three thousand: at the limit
    lines[20] = "y\n"
    with pytest.raises(DamagedTraceError) as error:
        read_trace(write("".join(lines)))
    assert str(error.value) == (
        "x.csv: 4 of 3,000 lines are damaged (0.133 %, the limit is 0.1 %): "
        "x.csv, line 11, Hostname: is missing: the line has only 1 field; "
        "x.csv, line 21, Hostname: is missing: the line has only 1 field; "
        "x.csv, line 1501, Hostname: is missing: the line has only 1 field; .... "
        "Check the format (msr) and its units, or raise the limit with damage_limit"
    )
    assert read_trace(write("".join(lines)), damage_limit=0.002).info.dropped_lines == 4
    with pytest.raises(DamagedTraceError):
        read_trace(write(msr(3000) + "x\n"), damage_limit=0)


def test_skipped_lines_are_no_damage(write):
    trace = read_trace(write("# made by hand\n\n" + msr(5) + "\n\n"), format="msr", damage_limit=0)
    assert (len(trace), trace.info.skipped_lines, trace.info.dropped_lines) == (5, 4, 0)
    assert (trace.info.skipped_kinds, trace.info.notes) == ({"comment": 1, "blank line": 3}, ())
    assert "skipped       3 blank line, 1 comment" in repr(trace)
    with pytest.raises(TraceError, match=r"x.csv has no request in it: 3 other lines were skipped"):
        read_trace(write("# nothing\n\n# to see\n"), format="msr")


def test_a_bad_start_of_a_long_file_does_not_stop_it_but_a_bad_long_file_stops_early(write, monkeypatch):
    from snapsim.traces.source import Source

    monkeypatch.setattr(Source.chunks, "__defaults__", (1 << 14,))
    bad = "x\n" * 40
    assert read_trace(write(bad + msr(50_000)), format="msr").info.dropped_lines == 40
    seen = []
    path = write((msr(200) + bad) * 300)
    with pytest.raises(DamagedTraceError, match="of the first "):
        read_trace(path, progress=lambda done, total: seen.append(done / total))
    assert max(seen) < 0.1


def test_nothing_is_left_of_a_failed_import(write, tmp_path, monkeypatch):
    path = write(msr(10) + "x\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    for opener in (open_trace, lambda path: convert_trace(path, tmp_path / "out.parquet")):
        with pytest.raises(DamagedTraceError):
            opener(path)
    with pytest.raises(StoreError):
        convert_trace(path, tmp_path / "missing" / "out.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scratch", "x.csv"]
    assert not list((tmp_path / "scratch").iterdir())


def test_progress_ends_at_the_whole_size(write):
    path = write(gzip.compress(msr(5000).encode()))
    seen = []
    read_trace(path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (path.stat().st_size,) * 2
    assert all(done <= total for done, total in seen)


def test_several_files_are_one_trace(write, tmp_path):
    whole = read_trace(write(msr(40)))
    (tmp_path / "x.csv").unlink()
    late, early = write(msr(20, first=20), "b.csv"), write(gzip.compress(msr(20).encode()), "c.csv.gz")
    write("not a trace", ".hidden")
    for paths in ([late, early], (str(early), late), tmp_path):
        trace = read_trace(paths)
        assert trace.fingerprint == whole.fingerprint
        assert trace.info.out_of_order == 0  # files may come in any order
        assert open_trace(paths).info == trace.info
    assert read_trace([late, early]).info.source == "b.csv, c.csv.gz"
    many = [write(msr(2, host=f"h{number}"), f"{number}.msr") for number in range(5)]
    assert read_trace(many).info.source == "0.msr, 1.msr, 2.msr, ... (5 files)"
    assert read_trace(many).volumes == tuple(f"h{number}_0" for number in range(5))
    with pytest.raises(
        UnknownFormatError, match=r"b.csv is msr but y.txt is tencent: files of one trace need one format"
    ):
        read_trace([late, write("1538323199,8,8,1,7\n" * 3, "y.txt")])
    (tmp_path / "hollow").mkdir()
    with pytest.raises(RefusedFileError, match=r"hollow has no files in it"):
        read_trace(tmp_path / "hollow")


def test_a_volume_that_is_not_there_is_named(write):
    with pytest.raises(VolumeSelectionError, match=r"x.csv has no volume 'nope': it has 'h_0'"):
        read_trace(write(msr(3)), volume="nope")


def test_out_of_core_gives_what_memory_gives(write, monkeypatch):
    from snapsim.traces import spool

    lines = msr(300).splitlines(keepends=True) + msr(300, host="i").splitlines(keepends=True)
    path = write("".join(lines[number * 7 % 600] for number in range(600)))
    monkeypatch.setitem(spool.Spool.__init__.__kwdefaults__, "run_rows", 50)
    monkeypatch.setattr("snapsim.traces.source.Source.chunks.__defaults__", (1 << 10,))
    memory, streamed = read_trace(path), open_trace(path)
    assert memory.info == streamed.info
    assert memory.info.out_of_order > 0
    assert columns(memory) == columns(streamed)


@pytest.mark.parametrize("run_rows", [7, 50, 1000])
@pytest.mark.parametrize("disks", [1, 2])
def test_requests_of_one_second_stay_in_the_order_of_the_file(write, monkeypatch, run_rows, disks):
    from snapsim.traces import spool

    monkeypatch.setitem(spool.Spool.__init__.__kwdefaults__, "run_rows", run_rows)
    seconds = [(number * 37 + number // 9) % 5 for number in range(200)]
    path = write("".join(f"{1538323199 + second},{8 * number},8,1,{number % disks}\n"
                         for number, second in enumerate(seconds)))  # fmt: skip
    expected = [8 * 512 * number for number in sorted(range(200), key=seconds.__getitem__)]
    for trace in (read_trace(path), open_trace(path)):
        assert trace.info.out_of_order > 0
        assert [offset for batch in trace.batches() for offset in batch.offset.tolist()] == expected


def test_a_trace_is_converted_once_and_then_opened(write, tmp_path):
    path = write(msr(30) + msr(30, host="i"))
    target = tmp_path / "out.parquet"
    made = convert_trace(path, target, shift=4096)
    for again in (read_trace(target), open_trace(target), read_trace(target, format="parquet")):
        assert again.info == made.info
        assert again.info.format == "msr"
    assert read_trace(target, volume="i_0").fingerprint == made.select(volume="i_0").fingerprint
    assert open_trace(target, volume=["h_0"]).volumes == ("h_0",)
    with pytest.raises(
        UsageError, match=r"out.parquet is stored already: shift applies only when a trace is imported"
    ):
        read_trace(target, shift=512)
    copy = convert_trace(target, tmp_path / "copy.parquet", volume="h_0")
    assert copy.volumes == ("h_0",)
    assert store.is_stored(tmp_path / "copy.parquet")
    with pytest.raises(TraceError, match=r"x.csv is no stored trace"):
        read_trace(path, format="parquet")


def test_ops_are_what_they_were(write):
    assert {row[1] for row in columns(read_trace(write(msr(3))))} == {WRITE}
