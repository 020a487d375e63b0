"""An nbdkit plugin in Python: serves a file, and logs every request with fingerprints of what is written.

The log has the lines of nbdkit's own log filter (times in UTC), and in those of writes a field more:
``digest=`` and the fingerprints as hexadecimal digits.  Contents are never stored.  Started by
``snapsim record nbd --contents``, or by hand::

    nbdkit -f -U nbd.sock python contents_plugin.py file=disk.raw logfile=disk.log

nbdkit's interpreter may have nothing but the standard library: so has this file.
"""

import contextlib
import ctypes
import errno
import importlib.util
import itertools
import os
import secrets
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

API_VERSION = 2

_PUNCH_HOLE, _KEEP_SIZE, _ZERO_RANGE = 0x02, 0x01, 0x10
_EMPTY = memoryview(bytes(1 << 20))
_settings = {"file": "", "logfile": "", "logappend": "false", "contents": "writes", "key": ""}
_connections = itertools.count(1)


def _fingerprints_module() -> ModuleType:
    """Load the module beside which this one is shipped, without the package and what the package needs."""
    here = Path(_fingerprints_module.__code__.co_filename)  # nbdkit sets no __file__
    path = here.resolve().parent.parent / "traces" / "fingerprints.py"
    spec = importlib.util.spec_from_file_location("fingerprints", path)
    if spec is None or spec.loader is None:
        msg = f"{path} is missing"
        raise RuntimeError(msg)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Recorder:
    """The served file, the log and the key."""

    def __init__(self) -> None:
        module = _fingerprints_module()
        self.fingerprints = module.fingerprints
        self.scheme = f" contents={module.SCHEME}" if _settings["contents"] == "writes" else ""
        self.fd = os.open(_settings["file"], os.O_RDWR | os.O_CLOEXEC)
        self.size = os.lseek(self.fd, 0, os.SEEK_END)
        fresh = 0 if _settings["logappend"] == "true" else os.O_TRUNC
        # one write per line to a file opened for appending: whoever is killed, the lines before are whole
        self.log = os.open(
            _settings["logfile"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | fresh, 0o600
        )
        self.logging = threading.Lock()
        self.key = _key(Path(_settings["key"] or f"{_settings['logfile']}.key"))
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def line(self, time_ns: int, text: str) -> None:
        """Log a line, whole or not at all: where the disk of the log is full, the guest's goes on without."""
        seconds, rest = divmod(time_ns, 10**9)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        line = f"{stamp}.{rest // 1000:06d} {text}\n".encode()
        with self.logging, contextlib.suppress(OSError):
            written = os.write(self.log, line)
            if written < len(line):
                os.ftruncate(self.log, os.fstat(self.log).st_size - written)

    def fallocate(self, mode: int, offset: int, length: int) -> bool:
        """Change the allocation; tell whether the file system can."""
        if self.libc.fallocate(self.fd, mode, offset, length) == 0:
            return True
        code = ctypes.get_errno()
        if code in {errno.EOPNOTSUPP, errno.ENOSYS}:
            return False
        raise OSError(code, os.strerror(code))


class _Connection:
    """One client: its number, and the numbers of its requests."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ids = itertools.count(1)


class _Call:
    """The two lines of one request, and its error handed to the client."""

    def __init__(self, connection: _Connection, action: str, fields: str) -> None:
        self.name = f"connection={connection.number} "
        self.action, self.id = action, next(connection.ids)
        _recorder().line(time.time_ns(), f"{self.name}{action} id={self.id}{fields} ...")

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        result = "return=0" if error is None else f"return=-1 error={_error_name(error)}"
        _recorder().line(time.time_ns(), f"{self.name}...{self.action} id={self.id} {result}")
        if isinstance(error, OSError) and error.errno:
            _nbdkit().set_error(error.errno)


def _error_name(error: BaseException) -> str:
    return errno.errorcode.get(getattr(error, "errno", None) or errno.EIO, "EIO")


def _nbdkit() -> Any:
    import nbdkit  # type: ignore[import-not-found,unused-ignore]  # only inside nbdkit

    return nbdkit


def _key(path: Path) -> bytes:
    """Read the secret of the fingerprints; make one where there is none."""
    try:
        return bytes.fromhex(path.read_text())
    except FileNotFoundError:
        key, part = secrets.token_bytes(32), path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, key.hex().encode())  # on a full disk: an empty file would be an empty key
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(path)
        return key


_opening = threading.Lock()
_recorders: list[_Recorder] = []


def _recorder() -> _Recorder:
    with _opening:
        if not _recorders:
            _recorders.append(_Recorder())
    return _recorders[0]


# --- what nbdkit calls


def config(key: str, value: str) -> None:
    """Take a parameter of the command line."""
    if key not in _settings:
        msg = f"unknown parameter {key}: known are {', '.join(_settings)}"
        raise RuntimeError(msg)
    _settings[key] = os.path.abspath(value) if key in {"file", "logfile", "key"} else value  # noqa: PTH100


def config_complete() -> None:
    """Check the parameters."""
    missing = [name for name in ("file", "logfile") if not _settings[name]]
    if missing:
        msg = f"parameter {missing[0]}= is missing"
        raise RuntimeError(msg)
    if _settings["contents"] not in {"writes", "none"}:
        msg = f"contents={_settings['contents']} is neither writes nor none"
        raise RuntimeError(msg)


def get_ready() -> None:
    """Open everything while a failure still stops nbdkit."""
    _recorder()


def thread_model() -> int:
    """Let requests run beside each other: hashing and input and output leave the interpreter's lock."""
    model: int = _nbdkit().THREAD_MODEL_PARALLEL
    return model


def open(readonly: bool) -> _Connection:  # noqa: A001, FBT001  nbdkit's names
    """Log a client that connects."""
    connection = _Connection(next(_connections))
    _recorder().line(
        time.time_ns(),
        f'connection={connection.number} Connect export="" tls=0 size=0x{_recorder().size:x} '
        f"write={int(not readonly)} flush=1 trim=1 zero=2 fua=2 extents=1{_recorder().scheme}",
    )
    return connection


def close(connection: _Connection) -> None:
    """Log a client that leaves."""
    done = next(connection.ids) - 1
    _recorder().line(time.time_ns(), f"connection={connection.number} Disconnect transactions={done}")


def get_size(connection: _Connection) -> int:
    """Return the size of the disk."""
    del connection
    return _recorder().size


def _yes(connection: _Connection) -> bool:
    del connection
    return True


can_write = can_flush = can_trim = can_zero = can_fast_zero = can_extents = _yes


def can_multi_conn(connection: _Connection) -> bool:
    """Tell that all connections see one file."""
    del connection
    return True


def can_fua(connection: _Connection) -> int:
    """Tell that forced writes are done here."""
    del connection
    native: int = _nbdkit().FUA_NATIVE
    return native


def can_cache(connection: _Connection) -> int:
    """Tell that there is nothing to prefetch."""
    del connection
    none: int = _nbdkit().CACHE_NONE
    return none


def pread(connection: _Connection, buffer: Any, offset: int, flags: int) -> None:
    """Read."""
    del flags
    with _Call(connection, "Read", f" offset=0x{offset:x} count=0x{len(buffer):x}"):
        view, done = memoryview(buffer), 0
        while done < len(buffer):
            count = os.preadv(_recorder().fd, [view[done:]], offset + done)
            if count == 0:
                raise OSError(errno.EIO, "the file became shorter")
            done += count


def pwrite(connection: _Connection, buffer: Any, offset: int, flags: int) -> None:
    """Write, and log the fingerprints."""
    fua = int(bool(flags & _nbdkit().FLAG_FUA))
    digest = ""
    if _settings["contents"] == "writes":
        digest = f" digest={_recorder().fingerprints(bytes(buffer), offset, _recorder().key).hex()}"
    with _Call(connection, "Write", f" offset=0x{offset:x} count=0x{len(buffer):x} fua={fua}{digest}"):
        _write(memoryview(buffer), offset)
        _sync(fua)


def zero(connection: _Connection, count: int, offset: int, flags: int) -> None:
    """Write zeroes."""
    nbdkit = _nbdkit()
    fua, trim = int(bool(flags & nbdkit.FLAG_FUA)), int(bool(flags & nbdkit.FLAG_MAY_TRIM))
    fast = int(bool(flags & nbdkit.FLAG_FAST_ZERO))
    fields = f" offset=0x{offset:x} count=0x{count:x} trim={trim} fua={fua} fast={fast}"
    with _Call(connection, "Zero", fields):
        mode = (_PUNCH_HOLE if trim else _ZERO_RANGE) | _KEEP_SIZE
        if not _recorder().fallocate(mode, offset, count):
            if fast:
                raise OSError(errno.EOPNOTSUPP, "zeroes must be written")
            for start in range(offset, offset + count, len(_EMPTY)):
                _write(_EMPTY[: min(len(_EMPTY), offset + count - start)], start)
        _sync(fua)


def trim(connection: _Connection, count: int, offset: int, flags: int) -> None:
    """Discard: make a hole where the file system can."""
    fua = int(bool(flags & _nbdkit().FLAG_FUA))
    with _Call(connection, "Trim", f" offset=0x{offset:x} count=0x{count:x} fua={fua}"):
        _recorder().fallocate(_PUNCH_HOLE | _KEEP_SIZE, offset, count)
        _sync(fua)


def flush(connection: _Connection, flags: int) -> None:
    """Flush."""
    del flags
    with _Call(connection, "Flush", ""):
        os.fdatasync(_recorder().fd)


def extents(connection: _Connection, count: int, offset: int, flags: int) -> list[tuple[int, int, int]]:
    """Tell which parts are holes; not logged, as no request for data."""
    del connection, flags
    nbdkit, fd, stop = _nbdkit(), _recorder().fd, offset + count
    result, at = [], offset
    while at < stop:
        data = min(_seek(fd, at, os.SEEK_DATA, stop), stop)
        if data > at:
            result.append((at, data - at, nbdkit.EXTENT_HOLE | nbdkit.EXTENT_ZERO))
        hole = min(_seek(fd, data, os.SEEK_HOLE, stop), stop) if data < stop else stop
        if hole > data:
            result.append((data, hole - data, 0))
        at = max(hole, data)
    return result


def _seek(fd: int, at: int, whence: int, otherwise: int) -> int:
    try:
        return os.lseek(fd, at, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return otherwise
        raise


def _write(view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        done += os.pwrite(_recorder().fd, view[done:], offset + done)


def _sync(fua: int) -> None:
    if fua:
        os.fdatasync(_recorder().fd)
