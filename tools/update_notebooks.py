"""Run notebooks and store what they put out, in a form that differs only where something changed.

    .venv/bin/python tools/update_notebooks.py [NOTEBOOK ...]

Without names: all of notebooks/.  A notebook in which a cell fails stays as it was.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}


def update(path: Path) -> None:
    """Run one notebook where it lies, and replace it as a whole."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": path.parent}}, record_timing=False
    )
    client.execute()
    normalise(notebook)
    nbformat.validate(notebook)
    temporary = path.with_name(f".{path.name}.tmp")
    nbformat.write(notebook, temporary)
    temporary.replace(path)


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Take out what differs between machines and runs: versions, widget states, times, joins of streams."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE})
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", ()):
            output.pop("transient", None)


def main() -> int:
    """Update what the command line names."""
    paths = [Path(name).resolve() for name in sys.argv[1:]] or sorted(ROOT.glob("notebooks/*.ipynb"))
    os.environ.setdefault("PYTHONHASHSEED", "0")
    for path in paths:
        print(path.name, flush=True)
        try:
            update(path)
        except CellExecutionError as error:
            print(f"{path.name} is left as it was: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
