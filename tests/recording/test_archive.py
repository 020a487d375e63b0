"""A log moved into its archive: whoever is killed and when, no line is lost or doubled."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import RecordingError
from snapsim.recording.activity import Activity
from snapsim.recording.archive import ARCHIVE, LOG, Archive, Position


class KilledError(Exception):
    """The recorder died here."""


def unpacked(folder: Path, position: Position) -> bytes:
    data = (folder / ARCHIVE).read_bytes()[: position.archive] if position.archive else b""
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True) as stream:
        return stream.read()


@given(
    steps=st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.sampled_from(["", "rotate", "kill"]))),
)
def test_archive_and_log_together_hold_every_line_once(
    steps: list[tuple[bytes, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    kept = [Position()]
    dying = [False]

    def keep(position: Position) -> None:
        if dying[0]:
            raise KilledError  # the archive is longer already than the state says
        kept.append(position)

    written, seen = b"", b""
    archive = Archive(folder, kept[-1], keep)
    for text, what in steps:
        with (folder / LOG).open("ab") as log:
            log.write(text)
        written += text
        seen += b"".join(archive.news())
        dying[0] = what == "kill"
        if what:
            try:
                archive.rotate()
            except KilledError:
                archive = Archive(folder, kept[-1], keep)
                seen = unpacked(folder, kept[-1])
            dying[0] = False
    seen += b"".join(archive.news())
    archive.rotate()
    whole = written[: written.rfind(b"\n") + 1]
    assert seen == whole
    assert unpacked(folder, kept[-1]) == whole
    assert archive.waiting == len(written) - len(whole)


def test_what_is_archived_takes_no_room_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / LOG
    log.write_bytes((b"x" * 99 + b"\n") * 50_000)
    archive = Archive(tmp_path, Position(), lambda _: None)
    before = log.stat().st_blocks
    for _ in archive.news():
        pass
    archive.rotate()
    assert log.stat().st_size == 5_000_000
    assert log.stat().st_blocks * 512 < 64 << 10 < before * 512
    assert archive.waiting == 0


def test_a_line_longer_than_a_piece_is_read_whole(tmp_path: Path) -> None:
    line = b"digest=" + b"0" * 5_000_000 + b"\n"
    (tmp_path / LOG).write_bytes(line + b"cut off")
    archive = Archive(tmp_path, Position(), lambda _: None)
    assert b"".join(archive.news()) == line


def test_what_is_not_wanted_is_thrown_away(tmp_path: Path) -> None:
    archive = Archive(tmp_path, Position(), lambda _: None)
    (tmp_path / LOG).write_bytes(b"one\n")
    list(archive.news())
    archive.rotate()
    archive.wanted = False
    with (tmp_path / LOG).open("ab") as log:
        log.write(b"two\n")
    list(archive.news())
    archive.rotate()
    assert unpacked(tmp_path, archive.position) == b"one\n"
    assert archive.position.log == 8


def test_activity_counts_what_goes_by() -> None:
    seen = Activity()
    seen.see(
        b'2026-01-01 00:00:00.000001 connection=1 Connect export="" size=0x100000\n'
        b"2026-01-01 00:00:00.000002 connection=1 Write id=1 offset=0x0 count=0x1000 fua=0 ...\n"
        b"2026-01-01 00:00:00.000003 connection=1 ...Write id=1 return=0\n"
        b"2026-01-01 00:00:00.000004 connection=1 Zero id=2 offset=0x0 count=0x200 trim=1 fua=0 fast=0 ...\n"
        b"2026-01-01 00:00:00.000005 connection=1 Flush id=3 ...\n"
        b"2026-01-01 00:00:00.000006 connection=1 Read id=4 offset=0x0 count=0x800 ...\n"
    )
    assert seen == Activity(requests=4, written=0x1200, connected=1, clients=1)
    seen.see(b"2026-01-01 00:00:00.000007 connection=1 Disconnect transactions=4\n")
    assert (seen.connected, seen.clients) == (0, 1)


def test_activity_bears_a_line_that_was_cut_off() -> None:
    seen = Activity()
    seen.see(b"2026-01-01 00:00:00.000002 connection=1 Write id=1 offs\n")
    assert seen.written == 0


def test_a_log_that_was_removed_begins_anew(tmp_path: Path) -> None:
    kept = [Position()]
    archive = Archive(tmp_path, kept[-1], kept.append)
    (tmp_path / LOG).write_bytes(b"one\ntwo\n")
    list(archive.news())
    archive.rotate()
    (tmp_path / LOG).write_bytes(b"3\n")
    again = Archive(tmp_path, kept[-1], kept.append)
    assert b"".join(again.news()) == b""  # what is there already counts as archived
    with (tmp_path / LOG).open("ab") as log:
        log.write(b"four\n")
    assert b"".join(again.news()) == b"four\n"
    again.rotate()
    assert unpacked(tmp_path, kept[-1]) == b"one\ntwo\nfour\n"


def test_an_archive_that_became_shorter_is_refused(tmp_path: Path) -> None:
    kept = [Position()]
    archive = Archive(tmp_path, kept[-1], kept.append)
    (tmp_path / LOG).write_bytes(b"one\n")
    list(archive.news())
    archive.rotate()
    os.truncate(tmp_path / ARCHIVE, kept[-1].archive - 1)
    with pytest.raises(RecordingError, match="put it back whole"):
        Archive(tmp_path, kept[-1], kept.append)


def test_a_torn_line_is_cut_off_and_no_whole_one(tmp_path: Path) -> None:
    archive = Archive(tmp_path, Position(), lambda _: None)
    archive.cut_torn_line()  # without a log, too
    (tmp_path / LOG).write_bytes(b"one\ntw")
    list(archive.news())
    archive.cut_torn_line()
    assert (tmp_path / LOG).read_bytes() == b"one\n"


def test_only_one_recorder_works_on_a_recording(tmp_path: Path) -> None:
    from snapsim.recording.folder import alone

    other = (
        "import sys, pathlib; from snapsim.recording.folder import alone\n"
        "with alone(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", other, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(RecordingError, match="another recorder works on it"), alone(tmp_path):
            pass
        process.kill()  # a killed one lets go
    with alone(tmp_path):
        pass
