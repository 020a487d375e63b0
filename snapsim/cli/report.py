"""`snapsim report`: a trace as a page."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.app import group
from snapsim.cli.output import check_writable, print_json
from snapsim.cli.progress import doing
from snapsim.cli.reading import File, Json, Reading, load

__all__ = ["app", "report"]

app = group("report", "Write what a trace is as one HTML page.")


@app.default
def report(
    trace: File,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o", metavar="PAGE.html")],
    title: str | None = None,
    reading: Reading = Reading(),  # noqa: B008  frozen
    as_json: Json = False,
) -> None:
    """Write what a trace is as one HTML page: figures, counts, and what looks wrong with it.

    Parameters
    ----------
    trace : Path
        The trace.
    output : Path
        The page to write; it needs nothing from elsewhere.
    title : str, optional
        Its heading.
    reading : Reading
        How to read the trace.
    as_json : bool
        Print JSON: where the page is.
    """
    check_writable(output)
    read = load(trace, reading)
    with doing(f"writing {output}"):
        from snapsim.report import write_trace

        write_trace(read, output, title=title)
    if as_json:
        print_json({"report": output})
    else:
        print(f"report: {output}")
