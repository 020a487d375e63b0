"""See that every public docstring says everything: parameters, what is returned or yielded, what is raised.

ruff checks that a docstring is there and `numpydoc lint` checks its form.  Neither sees whether it is
complete in the sense of this project:

* every parameter is documented, and none that does not exist;
* a function that returns or yields something has the section for it, unless it takes no parameters and
  its one line says it all;
* every exception that the function raises by name has an entry under "Raises".

Left out: private names, properties, magic methods, functions inside functions, and the sections of
kernels (`*_kernels.py`), which are documented by the API function that calls them; but what they do
document has to be right.  A method that fulfils a protocol may say ``See `Protocol.method`.`` instead.

Usage: ``python tools/check_docstrings.py [FOLDER ...]`` (default: snapsim)
"""

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from numpydoc.docscrape import NumpyDocString

Function = ast.FunctionDef | ast.AsyncFunctionDef

NOT_PROMISED = {"AssertionError", "NotImplementedError", "StopIteration"}
REFERENCE = re.compile(r"See `[^`]+`")
PROPERTY = {"property", "cached_property", "setter", "overload"}


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Yield each public function and method of a module with its dotted name."""
    scopes: list[tuple[str, ast.Module | ast.ClassDef]] = [("", tree)]
    while scopes:
        prefix, scope = scopes.pop()
        for node in scope.body:
            if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
                if isinstance(node, ast.ClassDef):
                    scopes.append((f"{prefix}{node.name}.", node))
                else:
                    yield f"{prefix}{node.name}", node


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body, without those of functions and classes inside it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def parameters(function: Function) -> list[str]:
    """List the parameters as a docstring names them: no self or cls, stars kept."""
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    if arguments.vararg:
        names.append(f"*{arguments.vararg.arg}")
    names += [argument.arg for argument in arguments.kwonlyargs]
    if arguments.kwarg:
        names.append(f"**{arguments.kwarg.arg}")
    return [name for name in names if name not in {"self", "cls"} and not name.startswith("_")]


def documented(doc: NumpyDocString, section: str) -> list[str]:
    """List the names that a section documents; `a, b : int` documents two."""
    return [name.strip() for entry in doc[section] for name in entry.name.split(",") if name.strip()]


def raised(function: Function) -> set[str]:
    """Name the exceptions that a function raises itself, and that a caller might want to catch."""
    names = set()
    for node in own_nodes(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = error.attr if isinstance(error, ast.Attribute) else getattr(error, "id", "")
            if name[:1].isupper() and name not in NOT_PROMISED:
                names.add(name)
    return names


def returns_something(function: Function) -> bool:
    """Tell whether a function returns a value (a generator's return does not count)."""
    return any(
        isinstance(node, ast.Return)
        and node.value is not None
        and not (isinstance(node.value, ast.Constant) and node.value.value is None)
        for node in own_nodes(function)
    )


def decorators(function: Function) -> set[str]:
    """Name a function's decorators by their last part."""
    parts = (node.func if isinstance(node, ast.Call) else node for node in function.decorator_list)
    return {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in parts}


def complaints(function: Function, *, kernel: bool) -> Iterator[str]:
    """Yield what a function's docstring lacks or invents."""
    text = ast.get_docstring(function)
    if text is None or decorators(function) & PROPERTY or REFERENCE.match(text):
        return  # a missing docstring is ruff's business
    doc = NumpyDocString(text)
    have, told = parameters(function), documented(doc, "Parameters") + documented(doc, "Other Parameters")
    if unknown := [name for name in told if name not in have and not name.startswith("_")]:
        yield f"documents parameters that it does not have: {', '.join(unknown)}"
    if kernel:
        return
    if missing := [name for name in have if name not in told]:
        yield f"does not document its parameters: {', '.join(missing)}"
    generator = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(function))
    says_it_all = not have and "\n" not in text.strip()
    if generator and not doc["Yields"] and not doc["Returns"] and not says_it_all:
        yield 'has no section "Yields"'
    if not generator and returns_something(function) and not doc["Returns"] and not says_it_all:
        yield 'has no section "Returns"'
    promised = {word for entry in doc["Raises"] for word in re.findall(r"\w+", entry.type or entry.name)}
    if silent := sorted(raised(function) - promised):
        yield f'raises without saying so under "Raises": {", ".join(silent)}'


def main(folders: list[str]) -> int:
    """Check every module below the folders; return the exit status."""
    warnings.simplefilter("error")  # numpydoc warns about sections that it cannot read
    found = 0
    for path in sorted(path for folder in folders for path in Path(folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, function in public_functions(tree):
            try:
                faults = list(complaints(function, kernel=path.stem.endswith("_kernels")))
            except (UserWarning, ValueError) as error:
                faults = [f"has a docstring that numpydoc cannot read: {error}"]
            for fault in faults:
                print(f"{path}:{function.lineno}: {name} {fault}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["snapsim"]))
