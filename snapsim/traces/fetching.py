"""Downloads of public traces: only when asked for, checked, kept in one folder of the user's cache."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snapsim.errors import DownloadError, UsageError
from snapsim.traces.library import PublicFile, PublicSet
from snapsim.units import format_size

_TIMEOUT = 30  # seconds without an answer
_CHUNK = 1 << 20


def cache_folder() -> Path:
    """Return the folder that downloads are kept in: SNAPSIM_DATA_DIR, or one in the user's cache."""
    import pooch

    given = os.environ.get("SNAPSIM_DATA_DIR")
    return Path(given).expanduser() if given else Path(pooch.os_cache("snapsim")) / "traces"


def place(one: PublicSet, file: PublicFile, folder: Path | None = None) -> Path:
    """Return where a file of a public set is kept once it was downloaded."""
    return (cache_folder() / one.name if folder is None else folder) / file.name


def downloads(
    one: PublicSet, *, file: str | None = None, sha256: str | None = None
) -> tuple[PublicFile, ...]:
    """Return what a download of a public set would get.

    Parameters
    ----------
    one : PublicSet
        Which set.
    file : str, optional
        Name of the one file that is wanted; all of them by default.
    sha256 : str, optional
        What the SHA-256 of the one file has to be, instead of what the registry says.

    Returns
    -------
    tuple of PublicFile
        With the hashes that are in force.

    Raises
    ------
    UsageError
        The set cannot be downloaded like this, has no such file, or the hash is none or fits several files.
    """
    if not one.files:
        msg = (
            f"{one.name} cannot be downloaded from here: its terms are agreed to on its own page. "
            f"Go to {one.home} and {one.agree}; read what you get with --format {one.format}"
        )
        raise UsageError(msg)
    names = [each.name for each in one.files]
    if file is not None and file not in names:
        msg = f"{one.name} has no file {file!r}: it has {', '.join(names)}"
        raise UsageError(msg)
    chosen = tuple(each for each in one.files if file in (None, each.name))
    if sha256 is None:
        return chosen
    digest = sha256.strip().lower().removeprefix("sha256:")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        msg = f"{sha256!r} is no SHA-256: it has 64 hexadecimal digits"
        raise UsageError(msg)
    if len(chosen) > 1:
        msg = f"a hash is one file's, and {one.name} has {len(chosen)}: say which of {', '.join(names)}"
        raise UsageError(msg)
    (only,) = chosen
    return (PublicFile(only.name, only.address, only.size_bytes, digest),)


def fetched(one: PublicSet, file: PublicFile, folder: Path | None = None) -> bool:
    """Tell whether a file is there already, and is what it should be as far as that is known."""
    path = place(one, file, folder)
    if not path.is_file():
        return False
    return sha256_of(path) == file.sha256 if file.sha256 else path.stat().st_size == file.size_bytes


def fetch(one: PublicSet, file: PublicFile, folder: Path | None = None) -> Path:
    """Download a file of a public set, whole or not at all, unless it is there.

    Parameters
    ----------
    one : PublicSet
        Which set.
    file : PublicFile
        Which file, with the hash it has to have, if any.
    folder : Path, optional
        Where to; the folder of the set in the user's cache by default.

    Returns
    -------
    Path
        Where it is.

    Raises
    ------
    DownloadError
        It cannot be reached or written, or what came is something else: nothing is kept of it.
    """
    path = place(one, file, folder)
    if fetched(one, file, folder):
        return path
    if path.exists():
        msg = f"{path} is there and is not the file that {one.name} should have: move it away first"
        raise DownloadError(msg)
    import pooch

    part = path.with_name(f"{file.name}.part")
    # not pooch.retrieve: a killed one leaves a file of a new name each time, and its files are private
    download = pooch.HTTPDownloader(timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})
    try:
        with _explained(file, path):
            part.parent.mkdir(parents=True, exist_ok=True)
            download(file.address, str(part), None)
        _check(part, file)
        part.replace(path)
    finally:
        with suppress(OSError):  # where it cannot be removed, it could not be made either
            part.unlink()
    return path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _check(path: Path, file: PublicFile) -> None:
    size = path.stat().st_size
    found = sha256_of(path)
    if file.sha256 and found != file.sha256:
        msg = (
            f"{file.address} gave {format_size(size)} with SHA-256 {found}, not {file.sha256}: "
            "it has changed or is another file; nothing is kept. "
            "If you trust it, give its hash with --sha256"
        )
        raise DownloadError(msg)
    if not file.sha256 and size != file.size_bytes:
        msg = (
            f"{file.address} gave {size:,} bytes, not {file.size_bytes:,}: "
            "it has changed or is another file; nothing is kept. "
            f"If you trust it, give its hash with --sha256 {found}"
        )
        raise DownloadError(msg)


@contextmanager
def _explained(file: PublicFile, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # what the network raises is one too, without an errno
        if error.errno is not None:
            msg = f"{path} cannot be written: {error.strerror}"
            raise DownloadError(msg) from error
        response = getattr(error, "response", None)
        if response is not None:
            reason = f"the server answers {response.status_code}"
        elif "timed out" in str(error):
            reason = "there was no answer in time"
        else:
            reason = "the server cannot be reached, or the connection broke; is this machine connected?"
        msg = f"{file.address} cannot be downloaded: {reason}"
        raise DownloadError(msg) from error
