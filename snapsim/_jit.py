"""The one door to Numba.

Numba reuses a compiled kernel as long as the file of the kernel itself is unchanged, even when a helper in
another file was edited: it then returns old answers.  The cache therefore lives in a folder named by a hash
of every kernel source, so that any edit starts a fresh cache.

`SNAPSIM_CACHE_DIR` moves the cache; `NUMBA_DISABLE_JIT=1` runs every kernel as plain Python.
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, overload

import numba

F = TypeVar("F", bound=Callable[..., object])

_PACKAGE = Path(__file__).parent
_KEEP_CACHES = 3
_OURS = re.compile(r"[0-9a-f]{16}")


def _kernel_sources() -> list[Path]:
    return sorted([*_PACKAGE.rglob("*_kernels.py"), _PACKAGE / "engine" / "blocktable.py", Path(__file__)])


def _salt() -> str:
    digest = hashlib.sha256()
    for part in (sys.version, numba.__version__):
        digest.update(part.encode())
    for source in _kernel_sources():
        if source.exists():
            digest.update(source.name.encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cache_root() -> Path:
    named = os.environ.get("SNAPSIM_CACHE_DIR")
    if named:
        return Path(named) / "snapsim-kernels"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "snapsim" / "numba"


def _cache_folder() -> Path:
    """Return the folder for this version of the kernels; drop the ones that nobody used for longest."""
    try:
        root = _cache_root()
        folder = root / _salt()
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        caches = [path for path in root.iterdir() if path.is_dir() and _OURS.fullmatch(path.name)]
        caches.sort(key=lambda path: path.stat().st_mtime)
        for path in caches[:-_KEEP_CACHES]:
            shutil.rmtree(path, ignore_errors=True)
    except (OSError, RuntimeError):  # read-only or missing home: compile into a folder of this process
        return Path(tempfile.mkdtemp(prefix="snapsim-numba-"))
    return folder


_FOLDER = "" if numba.config.DISABLE_JIT else str(_cache_folder())


@overload
def kernel(function: F) -> F: ...
@overload
def kernel(*, allocates: bool, inline: bool = ...) -> Callable[[F], F]: ...
def kernel(function: F | None = None, *, allocates: bool = True, inline: bool = True) -> F | Callable[[F], F]:
    """Compile a function of arrays, NamedTuples of arrays and integers.

    The compiled function releases the GIL, is cached on disk, and checks neither bounds nor overflow.

    Parameters
    ----------
    function : callable
        A module-level function that calls other kernels by name only: one that takes a function as an
        argument, or closes over one, would never be found in the cache again.
    allocates : bool
        False promises that the function makes no array.  Numba then counts no references, which otherwise
        costs two atomic operations for every array passed to a helper: 13 ns a call, more than many
        helpers take.
    inline : bool
        False keeps a kernel that makes no array a function of its own: for what is long, called from several
        places and seldom.

    Returns
    -------
    callable
        The same signature, compiled on first use.
    """

    def compiled(plain: F) -> F:
        # the folder is fixed when a function is decorated: whoever else uses Numba keeps their own
        others = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = _FOLDER or others
        try:
            jitted: F = numba.njit(
                cache=True, nogil=True, _nrt=allocates, forceinline=inline and not allocates
            )(plain)
        finally:
            numba.config.CACHE_DIR = others
        return jitted

    return compiled if function is None else compiled(function)
