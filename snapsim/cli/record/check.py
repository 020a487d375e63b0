"""`snapsim record check`: fingerprints in a trace, compared with the image that was recorded."""

from pathlib import Path

from snapsim.cli.output import print_json
from snapsim.cli.progress import doing
from snapsim.cli.reading import File, Json, Reading, load
from snapsim.cli.wording import worded

__all__ = ["check"]


def check(
    trace: File,
    image: Path,
    *,
    key: Path | None = None,
    discard: str = "unknown",
    reading: Reading = Reading(),  # noqa: B008  frozen
    as_json: Json = False,
) -> int:
    """Compare the fingerprints in a trace with the image that was recorded; exit status 1 if they differ.

    Parameters
    ----------
    trace : Path
        A trace with fingerprints of what was written.
    image : Path
        The raw image as the recording left it.
    key : Path or None
        The key file of the recording; without it only zeroes and compressed sizes are compared.
    discard : str
        What a discard leaves: zeroes, as files and most disks do, or unknown.
    reading : Reading
        How to read the trace.
    as_json : bool
        Print JSON.

    Returns
    -------
    int
        The exit status.
    """
    from snapsim.recording.checking import check_contents
    from snapsim.traces.readers.log_writes import read_key

    secret = None if key is None else read_key(key)
    requests = load(trace, reading)
    with doing("comparing"), worded():
        found = check_contents(requests, image, key=secret, discard=discard)
    if as_json:
        print_json(found.to_dict())
    else:
        print(found.text())
    return 1 if found.different else 0
