"""Notebooks are thin, complete and readable: the rules, for every one of them."""

import ast
import base64
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
START = FOLDER / "00_start_here.ipynb"

LONGEST_CELL = 12
LARGEST_FILE = 1_000_000
FORBIDDEN = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.With,
)
# What hands out requests one by one or as columns: a notebook asks the package instead.
REQUESTS = {"batches", "to_frame", "iterrows", "itertuples", "apply"}
UNIT = r"(?:[KMGTP]?i?B|bytes|[nµm]?s|min|minutes?|h|hours|d|days|%|times)\b"
QUANTITY = re.compile(rf"(?<![\w.`/])(\d[\d,.]*\d|\d)\s?({UNIT}|%)")
FIGURE = re.compile(
    r"<figure><img alt=\"([^\"]*)\"[^>]*base64,([^\"]+)\"><figcaption>(.*?)</figcaption></figure>"
)

SHORT = {"minutes": "min", "minute": "min", "hours": "h", "days": "d"}

each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose_of(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def plain(output):
    """Return an output as the text that nbval compares."""
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def rich(output):
    return output.get("data", {}).get("text/html", "")


def joined(text):
    """Return a text without the space between numbers and units."""
    return re.sub(r"(?<=\d) (?=[A-Za-z%])", "", text)


def has_figure(cell):
    return any("<figure" in rich(output) for output in cell.outputs)


def trees(notebook):
    return [ast.parse(cell.source) for cell in code_of(notebook)]


def head(notebook):
    """Return title, question, audience and minutes of a notebook."""
    form = (
        r"# (?P<title>.+)\n\n"
        r"\*\*Question\.\*\* (?P<question>[^?]+\?)\n\n"
        r"For (?P<audience>[^.]+)\. (?P<minutes>\d+) minutes\.\n"
    )
    return re.match(form, notebook.cells[0].source)


def test_the_notebooks_are_there():
    assert {"00_start_here", "02_know_your_trace", "05_storage_growth"} <= {path.stem for path in PATHS}


@each
def test_it_begins_with_title_question_audience_and_minutes(path):
    notebook = read(path)
    assert notebook.cells[0].cell_type == "markdown"
    assert head(notebook), notebook.cells[0].source


@each
def test_the_first_code_cell_holds_the_parameters_and_nothing_else(path):
    notebook = read(path)
    tagged = [cell for cell in code_of(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == code_of(notebook)[:1]
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.Assign)
        assert isinstance(statement.value, ast.Constant)
        assert statement.targets[0].id.isupper()


@each
def test_snapsim_is_imported_once_right_after_the_parameters_and_nothing_else_is(path):
    imports = [
        (number, ast.unparse(node))
        for number, tree in enumerate(trees(read(path)))
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert imports == [(1, "import snapsim as ss")]


@each
def test_it_calls_the_package_and_defines_nothing(path):
    for tree in trees(read(path)):
        for node in ast.walk(tree):
            assert not isinstance(node, FORBIDDEN), ast.unparse(node)
            if isinstance(node, ast.Attribute):
                assert node.attr not in REQUESTS, ast.unparse(node)


@each
def test_cells_are_short_and_do_not_hide_their_output(path):
    for cell in code_of(read(path)):
        assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source
        assert not cell.source.rstrip().endswith(";"), "run by a test, a semicolon does not hide the output"
        assert not re.search(r"^\s*[%!]", cell.source, re.MULTILINE), (
            "magic: timings and shells differ everywhere"
        )


@each
def test_cells_that_draw_end_in_the_call_that_draws(path):
    for cell in code_of(read(path)):
        if "ss.viz." not in cell.source:
            assert not has_figure(cell)
            continue
        last = ast.parse(cell.source).body[-1]
        assert isinstance(last, ast.Expr)
        assert isinstance(last.value, ast.Call)
        assert ast.unparse(last.value.func).startswith("ss.viz.")
        assert has_figure(cell)


@each
def test_figures_have_alternative_text_a_caption_and_one_line_of_facts(path):
    for cell in code_of(read(path)):
        if not has_figure(cell):
            continue
        (output,) = cell.outputs
        alt, picture, caption = FIGURE.fullmatch(rich(output)).groups()
        assert len(alt) > 40
        assert len(caption) > 40
        assert re.fullmatch(r"Figure [a-z ]+: .+", plain(output))
        assert base64.b64decode(picture).startswith(b"\x89PNG")


@each
def test_every_figure_is_explained_right_below(path):
    cells = read(path).cells
    for number, cell in enumerate(cells):
        if cell.cell_type == "code" and has_figure(cell):
            below = next(later for later in cells[number + 1 :] if later.cell_type == "markdown")
            assert below.source.startswith("**Read this figure.** ")
            assert not any(has_figure(later) for later in cells[number + 1 : cells.index(below)])


@each
def test_it_ends_with_its_limits_and_what_to_read_next(path):
    last = read(path).cells[-1]
    assert last.cell_type == "markdown"
    assert "## Limits\n" in last.source
    assert last.source.splitlines()[-1].startswith("**Next:** ")


@each
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", prose_of(read(path))):
        assert (FOLDER / target).is_file(), target


@each
def test_quantities_in_the_text_are_those_of_the_outputs(path):
    # so that a new trace or a repaired formula cannot leave an old number standing
    notebook = read(path)
    cells = code_of(notebook)
    outputs = [output for cell in cells for output in cell.outputs]
    shown = joined("\n".join([cell.source for cell in cells] + [plain(output) for output in outputs]))
    prose = prose_of(notebook)[head(notebook).end() :]
    for number, unit in QUANTITY.findall(prose):
        # arrays and the arguments of code have no unit beside them
        follows = r"(?![\d.,]*\d)" if unit in {"bytes", "ns"} else SHORT.get(unit, unit)
        wanted = r"(?<![\d.,])" + re.escape(number) + follows
        assert re.search(wanted, shown), f"{number} {unit}"


@each
def test_fractions_in_the_text_have_a_unit(path):
    prose = re.sub(r"`[^`]*`|\([^)]*\)", "", prose_of(read(path)))
    for found in re.finditer(r"(?<![\w.])\d+\.\d+", prose):
        assert QUANTITY.match(prose, found.start()), prose[found.start() - 20 : found.end() + 20]


@each
def test_it_was_run_from_top_to_bottom_on_a_fresh_kernel(path):
    counts = [cell.execution_count for cell in code_of(read(path))]
    assert counts == list(range(1, len(counts) + 1))


@each
def test_nothing_in_it_differs_from_run_to_run_or_from_machine_to_machine(path):
    notebook = read(path)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    assert "version" not in notebook.metadata.language_info
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
        for output in cell.get("outputs", ()):
            assert output.output_type in {"execute_result", "stream"}
            assert output.get("name") != "stderr"
            text = plain(output)
            assert not re.search(r" at 0x[0-9a-f]+|/home/|/root/|/tmp/|[A-Z]:\\", text), text
            assert not re.search(r"wall time|\bCPU times|elapsed", text, re.IGNORECASE), text


@each
def test_it_is_small_enough_to_be_read_on_the_web(path):
    assert path.stat().st_size < LARGEST_FILE


def test_the_start_notebook_lists_every_notebook():
    expected = "\n".join(
        f"| [{path.stem}]({path.name}) | {found['audience']} | {found['minutes']} | {found['question']} |"
        for path in PATHS
        for found in [head(read(path))]
    )
    assert f"| notebook | for | minutes | question |\n|---|---|---|---|\n{expected}\n" in prose_of(
        read(START)
    )
