"""snapsim record nbd, with real clients."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

import snapsim as ss
from snapsim.errors import RecordingError, UsageError
from snapsim.recording import contents_plugin, serving
from snapsim.recording.checking import check_contents
from snapsim.recording.nbd import NbdRecorder, agree, finish, prepare
from snapsim.types import Op

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("nbdkit", "qemu-io", "qemu-img", "qemu-nbd")]

CAPACITY = 64 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(CAPACITY)
        file.write(os.urandom(256 << 10))
    return path


class Recorder:
    """The command, running."""

    def __init__(self, command: list[str], errors: Path) -> None:
        self.errors = errors
        with errors.open("w") as file:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        last = time.monotonic() + 60
        while "virtio-blk" not in errors.read_text():
            assert self.process.poll() is None, errors.read_text()
            assert time.monotonic() < last
            time.sleep(0.05)

    def ended(self) -> str:
        """Wait for the end; return what was printed."""
        output, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.said()
        return output

    def said(self) -> str:
        return self.errors.read_text()


@pytest.fixture
def start(tmp_path: Path, image: Path) -> Iterator[Callable[..., Recorder]]:
    """Start the command and wait until it serves; everything has ended after the test."""
    started: list[Recorder] = []

    def begin(*more: str, disk: Path = image) -> Recorder:
        command = [sys.executable, "-m", "snapsim.cli", "record", "nbd", str(disk)]
        command += ["-o", str(tmp_path / "web.parquet"), "--linger", "1s", *more]
        started.append(Recorder(command, tmp_path / f"errors-{len(started)}"))
        return started[-1]

    yield begin
    serving.stop(tmp_path / "web.recording")
    for recorder in started:
        with suppress(ProcessLookupError):
            recorder.process.kill()
        recorder.process.wait()


def client(folder: Path, *commands: str) -> list[str]:
    uri = f"nbd+unix:///?socket={quote(str(folder / 'web.recording' / serving.SOCKET))}"
    arguments = [word for command in commands for word in ("-c", command)]
    return ["qemu-io", "-f", "raw", "-t", "none", "-d", "unmap", uri, *arguments]


def tell(guest: subprocess.Popen[str], *commands: str) -> None:
    """Give commands one by one: qemu-io looks for input only, not for what it has read already."""
    assert guest.stdin is not None
    for command in commands:
        guest.stdin.write(f"{command}\n")
        guest.stdin.flush()
        time.sleep(0.2)


def ask(folder: Path, *commands: str) -> None:
    done = subprocess.run(client(folder, *commands), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout + done.stderr, done.stdout


def requests(trace: ss.Trace) -> list[tuple[str, int, int]]:
    return [
        (Op(op).name, int(offset), int(length))
        for batch in trace.batches()
        for op, offset, length in zip(batch.op, batch.offset, batch.length, strict=True)
        if op != Op.FLUSH
    ]


def random_work(seed: int, count: int) -> tuple[list[str], list[tuple[str, int, int]]]:
    """Return commands of qemu-io, and the requests that they are."""
    chance = random.Random(seed)
    commands, expected = [], []
    for _ in range(count):
        length = chance.choice([512, 4096, 8192, 65536, 1 << 20])
        offset = chance.randrange((CAPACITY - length) // 512) * 512
        what = chance.choice(["write", "write", "write", "read", "zero", "discard"])
        if what == "write":
            commands.append(f"write -P {chance.randrange(256)} {offset} {length}")
            expected.append(("WRITE", offset, length))
        elif what == "read":
            commands.append(f"read {offset} {length}")
            expected.append(("READ", offset, length))
        elif what == "zero":
            commands.append(f"write -z {offset} {length}")
            expected.append(("WRITE_ZEROES", offset, length))
        else:
            commands.append(f"discard {offset} {length}")
            expected.append(("DISCARD", offset, length))
    return commands, expected


def test_what_a_client_asks_is_the_trace(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start()
    commands, expected = random_work(1, 80)
    ask(tmp_path, *commands)
    output = recorder.ended()
    assert "request-merging=off" in recorder.said()
    assert "stored as" in output
    trace = ss.read_trace(tmp_path / "web.parquet")
    assert requests(trace) == expected
    assert trace.capacity == CAPACITY
    assert abs(trace.start_ns / 1e9 - time.time()) < 120  # UTC, wherever the machine is
    (batch,) = trace.batches(columns=("latency_ns",))
    assert batch.latency_ns is not None
    assert (batch.latency_ns >= 0).all()
    # what was on the image before is in the map, and count_lifetimes takes it
    initial = tmp_path / "web.initial-map.json"
    extents = json.loads(initial.read_text())
    assert sum(one["length"] for one in extents) == CAPACITY
    assert extents[0]["data"]
    ss.count_lifetimes(trace, every="1min", block_size="64KiB", initial=initial)


@pytest.mark.needs_program("nbdkit")
def test_fingerprints_are_those_of_the_image(
    tmp_path: Path, image: Path, start: Callable[..., Recorder]
) -> None:
    recorder = start("--contents")
    commands, expected = random_work(2, 120)
    ask(tmp_path, *commands)
    output = recorder.ended()
    assert "contents.key" in output
    trace = ss.read_trace(tmp_path / "web.parquet")
    assert requests(trace) == expected
    assert trace.info.contents == "snapsim-1"
    key = bytes.fromhex((tmp_path / "web.recording" / serving.KEY).read_text())
    report = check_contents(trace, image, key=key)
    assert report.different == 0
    assert report.equal > 500
    # one byte on the disk that was not recorded is found
    (batch,) = trace.batches()
    row = int(np.flatnonzero((batch.op == Op.WRITE) & (batch.length >= 65536))[-1])
    with image.open("r+b") as disk:
        place = int(batch.offset[row]) + 8192
        disk.seek(place)
        byte = disk.read(1)
        disk.seek(place)
        disk.write(bytes([byte[0] ^ 1]))
    assert check_contents(trace, image, key=key).different == 1


def test_a_killed_recorder_takes_nobody_s_disk(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start()
    with subprocess.Popen(
        client(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1
    ) as guest:
        tell(guest, "write 0 4k")
        settle(tmp_path, "...Write ")
        recorder.process.send_signal(signal.SIGKILL)
        recorder.process.communicate()
        tell(guest, "write 64k 4k")  # the guest goes on
        settle(tmp_path, "offset=0x10000 ")
        # readable up to now, while the guest runs
        done = finish(tmp_path / "web.recording", tmp_path / "sofar.parquet")
        assert requests(done.trace) == [("WRITE", 0, 4096), ("WRITE", 65536, 4096)]
        again = start("--resume")
        tell(guest, "write 128k 4k", "quit")
        guest.wait(30)
    again.ended()
    assert "still serving" in again.said()
    trace = ss.read_trace(tmp_path / "web.parquet")
    assert requests(trace) == [("WRITE", 0, 4096), ("WRITE", 65536, 4096), ("WRITE", 131072, 4096)]


def test_a_killed_server_leaves_everything_up_to_the_end(
    tmp_path: Path, start: Callable[..., Recorder]
) -> None:
    recorder = start()
    commands, expected = random_work(3, 30)
    with subprocess.Popen(
        client(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as guest:
        tell(guest, *commands)
        settle(tmp_path, " return=0", count=len(commands))
        os.kill(int((tmp_path / "web.recording" / serving.PID).read_text()), signal.SIGKILL)
        guest.kill()
    recorder.ended()
    assert requests(ss.read_trace(tmp_path / "web.parquet")) == expected


def settle(folder: Path, text: str, *, count: int = 1) -> None:
    """Wait until the log says it."""
    last = time.monotonic() + 30
    while (folder / "web.recording" / "disk.log").read_bytes().count(text.encode()) < count:
        assert time.monotonic() < last
        time.sleep(0.02)


def test_interrupted_with_a_client_the_disk_stays(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start()
    with subprocess.Popen(
        client(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1
    ) as guest:
        tell(guest, "write 0 4k")
        settle(tmp_path, "...Write ")
        time.sleep(1)
        recorder.process.send_signal(signal.SIGINT)
        recorder.ended()
        assert "--resume" in recorder.said()
        assert not (tmp_path / "web.parquet").exists()
        tell(guest, "write 4k 4k", "quit")
        guest.wait(30)
    again = start("--resume", "--permute", "1MiB")
    again.process.send_signal(signal.SIGINT)
    again.ended()
    trace = ss.read_trace(tmp_path / "web.parquet")
    assert [length for _, _, length in requests(trace)] == [4096, 4096]
    assert any("shuffled" in note for note in trace.info.notes)
    assert trace.info.source == "web"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_without_a_client_the_server_ends(
    tmp_path: Path, start: Callable[..., Recorder], number: signal.Signals
) -> None:
    recorder = start()
    ask(tmp_path, "write 0 4k")
    settle(tmp_path, " Disconnect ")  # the server notices a little later that the client left
    recorder.process.send_signal(number)
    recorder.ended()
    assert not serving.alive(tmp_path / "web.recording")
    assert requests(ss.read_trace(tmp_path / "web.parquet")) == [("WRITE", 0, 4096)]


def test_asked_to_end_while_the_server_comes_up_it_ends_too(tmp_path: Path, image: Path) -> None:
    code = (
        "import os, signal, runpy\n"
        "from snapsim.recording.nbd import NbdRecorder\n"
        "serve = NbdRecorder.serve\n"
        "NbdRecorder.serve = lambda self: (serve(self), os.kill(os.getpid(), signal.SIGTERM))[0]\n"
        "runpy.run_module('snapsim.cli', run_name='__main__')\n"
    )
    command = [sys.executable, "-c", code, "record", "nbd", str(image), "-o", str(tmp_path / "web.parquet")]
    subprocess.run(command, capture_output=True, check=False, timeout=60)
    left = serving.alive(tmp_path / "web.recording")
    serving.stop(tmp_path / "web.recording")
    assert not left


def test_after_the_time_the_disk_is_served_and_nothing_kept(
    tmp_path: Path, start: Callable[..., Recorder]
) -> None:
    recorder = start("--for", "3s")
    with subprocess.Popen(
        client(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1
    ) as guest:
        tell(guest, "write 0 4k")
        settle(tmp_path, "...Write ")
        time.sleep(5)
        tell(guest, "write 4k 4k", "quit")
        guest.wait(30)
    recorder.ended()
    assert "the time is over" in recorder.said()
    assert requests(ss.read_trace(tmp_path / "web.parquet")) == [("WRITE", 0, 4096)]


def test_a_qcow2_image_is_recorded_as_the_guest_sees_it(
    tmp_path: Path, start: Callable[..., Recorder]
) -> None:
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "32M"], check=True)
    recorder = start(disk=disk)
    ask(tmp_path, "write -P 7 1M 64k", "read 0 4k")
    recorder.ended()
    trace = ss.read_trace(tmp_path / "web.parquet")
    assert requests(trace) == [("WRITE", 1 << 20, 65536), ("READ", 0, 4096)]
    assert trace.capacity == 32 << 20
    read = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "read -P 7 1M 64k", str(disk)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "verification failed" not in read.stdout


def test_a_small_rotation_changes_nothing(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start("--rotate", "1KiB")
    commands, expected = random_work(4, 40)
    ask(tmp_path, *commands[:20])
    ask(tmp_path, *commands[20:])
    recorder.ended()
    assert requests(ss.read_trace(tmp_path / "web.parquet")) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothere.raw"], "there is no image nothere.raw"),
        (["disk.qcow2", "--contents"], "convert it with qemu-img convert"),
        (["disk.raw", "--socket", "/tmp/" + "x" * 120], "longer than 107 bytes"),
        (["disk.raw", "--resume"], "there is no recording"),
        (["disk.raw", "--image-format", "qcow2"], "qemu-img map failed"),
        (["disk.raw", "--for", "soon"], "soon"),
        (["disk.raw", "--permute", "much"], "much"),
        (["disk.raw", "--permute", "1000"], "multiples of 4 KiB, not of 1000 bytes"),
        (["disk.raw", "--permute", "1TiB"], "into 0, and between 2"),
        (["disk.raw", "--rotate", "-1"], "'-1'"),
        (["disk.raw", "--linger", "long"], "long"),
    ],
)
def test_mistakes_are_said_in_a_sentence_and_leave_nothing(
    tmp_path: Path, image: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del image
    monkeypatch.chdir(tmp_path)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "disk.qcow2", "32M"], check=True)
    command = [sys.executable, "-m", "snapsim.cli", "record", "nbd", "-o", "web.parquet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in {1, 2}
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.qcow2", "disk.raw"]


def test_a_recording_is_not_made_twice(tmp_path: Path, image: Path) -> None:
    folder = tmp_path / "web.recording"
    prepare(image, folder)
    with pytest.raises(UsageError, match="--resume"):
        prepare(image, folder)
    with pytest.raises(RecordingError, match="holds no requests"):
        finish(folder, tmp_path / "web.parquet")
    with pytest.raises(RecordingError, match="is no recording"):
        finish(tmp_path, tmp_path / "web.parquet")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def killed_with_a_client(folder: Path, recorder: Recorder) -> None:
    """Kill the recorder, the server and the client, who has written 4 KiB."""
    with subprocess.Popen(
        client(folder), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    ) as guest:
        tell(guest, "write 0 4k")
        settle(folder, "...Write ")
        kill(recorder.process)
        os.kill(int((folder / "web.recording" / serving.PID).read_text()), signal.SIGKILL)
        guest.kill()


@pytest.mark.parametrize("more", [[], ["--rotate", "1B"]])
def test_killed_twice_the_clients_of_the_first_server_are_gone(
    tmp_path: Path, start: Callable[..., Recorder], more: list[str]
) -> None:
    killed_with_a_client(tmp_path, start(*more))
    kill(start("--resume").process)
    last = start("--resume")
    ask(tmp_path, "write 8k 4k")
    last.ended()
    trace = ss.read_trace(tmp_path / "web.parquet")
    assert requests(trace) == [("WRITE", 0, 4096), ("WRITE", 8192, 4096)]


def test_a_line_in_which_the_server_was_killed_is_cut_off(
    tmp_path: Path, start: Callable[..., Recorder]
) -> None:
    killed_with_a_client(tmp_path, start())
    with (tmp_path / "web.recording" / "disk.log").open("ab") as log:
        log.write(b"2026-11-23 04:00:00.000001 connection=1 Write id=9 offs")
    again = start("--resume")
    ask(tmp_path, "write 8k 4k")
    again.ended()
    trace = ss.read_trace(tmp_path / "web.parquet")
    assert requests(trace) == [("WRITE", 0, 4096), ("WRITE", 8192, 4096)]


def test_lines_that_a_full_disk_tore_do_not_stop_the_rest(
    tmp_path: Path, start: Callable[..., Recorder]
) -> None:
    killed_with_a_client(tmp_path, start())
    with (tmp_path / "web.recording" / "disk.log").open("ab") as log:
        log.write(
            b"2026-11-23 04:00:00.000001 connection=1 Wr2026-11-23 04:00:00.000001 connection=1 Write id=\n"
        )
    done = finish(tmp_path / "web.recording", tmp_path / "web.parquet")
    assert requests(done.trace) == [("WRITE", 0, 4096)]


def test_a_recording_has_one_server_by_whatever_name_it_is_called(
    tmp_path: Path, image: Path, start: Callable[..., Recorder]
) -> None:
    recorder = start()
    kill(recorder.process)
    (tmp_path / "link").symlink_to(tmp_path)
    command = [sys.executable, "-m", "snapsim.cli", "record", "nbd", str(image), "--resume", "--linger", "1s"]
    again = Recorder([*command, "-o", str(tmp_path / "link" / "web.parquet")], tmp_path / "errors")
    assert "still serving" in again.said()
    ask(tmp_path, "write 0 4k")
    again.ended()


def test_an_image_in_use_is_not_served_to_another(tmp_path: Path, image: Path) -> None:
    with subprocess.Popen(
        ["qemu-io", "-f", "raw", str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as guest:
        tell(guest, "read 0 512")
        assert guest.stdout is not None
        assert "read 512" in guest.stdout.readline()
        with pytest.raises(RecordingError, match="is in use: end the guest"):
            prepare(image, tmp_path / "web.recording")
        guest.kill()
    assert not (tmp_path / "web.recording").exists()


def test_what_could_not_be_served_leaves_nothing(tmp_path: Path, image: Path) -> None:
    (tmp_path / "sock").touch()
    command = [
        sys.executable,
        "-m",
        "snapsim.cli",
        "record",
        "nbd",
        str(image),
        "--socket",
        str(tmp_path / "sock"),
    ]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "web.parquet")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is in use: choose another socket" in done.stderr
    assert not (tmp_path / "web.recording").exists()


def test_a_recording_is_taken_up_as_what_it_is(tmp_path: Path, image: Path) -> None:
    folder = tmp_path / "web.recording"
    prepare(image, folder)
    agree(folder, image=image, socket=folder / serving.SOCKET, image_format="raw")
    with pytest.raises(UsageError, match=r"a recording of .*disk\.raw, not of .*other\.raw"):
        agree(folder, image=tmp_path / "other.raw")
    with pytest.raises(UsageError, match="begun without --contents"):
        agree(folder, image=image, contents=True)
    with pytest.raises(UsageError, match=r"--image-format qcow2: .* begun with raw"):
        agree(folder, image=image, image_format="qcow2")
    with pytest.raises(UsageError, match="resume it without --socket"):
        agree(folder, image=image, socket=tmp_path / "sock")


def test_fingerprints_are_not_taken_up_with_another_key(tmp_path: Path, image: Path) -> None:
    folder = tmp_path / "web.recording"
    prepare(image, folder, contents=True)
    (folder / "disk.log").write_text("2026-01-01 00:00:00.000001 Ready thread_model=3\n")
    with pytest.raises(RecordingError, match=r"contents\.key is gone"):
        NbdRecorder(folder).serve()


def test_without_room_for_the_log_the_guest_writes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, log = tmp_path / "disk.raw", tmp_path / "disk.log"
    image.write_bytes(bytes(4096))
    settings = {"file": str(image), "logfile": str(log), "key": str(tmp_path / "key")}
    monkeypatch.setattr(contents_plugin, "_settings", contents_plugin._settings | settings)
    recorder = contents_plugin._Recorder()
    recorder.line(0, "one")
    whole, write = log.read_bytes(), os.write

    def half(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:9])

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for writing in (half, full):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", writing)
            recorder.line(0, "two")
        assert log.read_bytes() == whole
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            contents_plugin._key(tmp_path / "other")
    assert not (tmp_path / "other").exists()  # an empty one would be the key of the next recorder
    os.close(recorder.log)
    os.close(recorder.fd)
