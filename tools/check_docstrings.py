"""See that docstrings say everything that is true, and nothing that is not.

ruff checks that a docstring is there and `numpydoc lint` checks its form.  Neither sees whether it is
complete in the sense of this project.  What users reach from `snapsim.__all__` (functions, methods of
classes, functions of modules) has to say all of it:

* every parameter;
* what is returned or yielded, unless there are no parameters and the one line says it all;
* every exception that it raises itself, by name, under "Raises".

Inside the package one line is enough, but what it documents has to be right: a section "Parameters" has every
parameter of the function and no other.

Left out: private names, properties, magic methods, functions inside functions, and methods that a
protocol of the project documents.

Usage: ``python tools/check_docstrings.py``
"""

import ast
import inspect
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from numpydoc.docscrape import NumpyDocString

import snapsim

PACKAGE = Path(snapsim.__file__).parent

Function = ast.FunctionDef | ast.AsyncFunctionDef

NOT_PROMISED = {"AssertionError", "NotImplementedError", "StopIteration"}
PROPERTY = {"property", "cached_property", "setter", "overload"}


def promised_names() -> set[tuple[str, str]]:
    """Name what users reach from `snapsim.__all__`, as (module, qualified name of a function or class)."""
    found = set()
    pending = [getattr(snapsim, name) for name in snapsim.__all__]
    while pending:
        thing = pending.pop()
        if isinstance(thing, ModuleType):
            names = getattr(thing, "__all__", [name for name in vars(thing) if not name.startswith("_")])
            inside = (getattr(thing, name) for name in names)
            pending += [
                value for value in inside if getattr(value, "__module__", "").startswith(thing.__name__)
            ]
        elif inspect.isclass(thing) or inspect.isroutine(thing):
            thing = inspect.unwrap(thing)
            found.add((thing.__module__, thing.__qualname__))
    return found


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


def protocol_methods(trees: list[ast.Module]) -> set[str]:
    """Name the methods that the protocols of these modules ask for."""
    classes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    protocols = (node for node in classes if any(ast.unparse(base) == "Protocol" for base in node.bases))
    return {method.name for protocol in protocols for method in protocol.body if isinstance(method, Function)}


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


def untrue(function: Function, doc: NumpyDocString) -> Iterator[str]:
    """Yield where a section "Parameters", if there is one, differs from the signature."""
    have, told = parameters(function), documented(doc, "Parameters") + documented(doc, "Other Parameters")
    if unknown := [name for name in told if name not in have and not name.startswith("_")]:
        yield f"documents parameters that it does not have: {', '.join(unknown)}"
    if told and (missing := [name for name in have if name not in told]):
        yield f"documents some parameters, but not {', '.join(missing)}"


def unsaid(function: Function, doc: NumpyDocString) -> Iterator[str]:
    """Yield which sections a function that users call lacks."""
    have = parameters(function)
    if have and not doc["Parameters"] and not doc["Other Parameters"]:
        yield f"does not document its parameters: {', '.join(have)}"
    says_it_all = not have and "\n" not in (ast.get_docstring(function) or "").strip()
    generator = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(function))
    if generator and not doc["Yields"] and not doc["Returns"] and not says_it_all:
        yield 'has no section "Yields"'
    if not generator and returns_something(function) and not doc["Returns"] and not says_it_all:
        yield 'has no section "Returns"'
    told = {word for entry in doc["Raises"] for word in re.findall(r"\w+", entry.type or entry.name)}
    if silent := sorted(raised(function) - told):
        yield f'raises without saying so under "Raises": {", ".join(silent)}'


def main() -> int:
    """Check every module of the package; return the exit status."""
    warnings.simplefilter("error")  # numpydoc warns about sections that it cannot read
    modules = [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(PACKAGE.rglob("*.py"))]
    protocols = protocol_methods([tree for _, tree in modules])
    promised = promised_names()
    found = 0
    for path, tree in modules:
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for name, function in public_functions(tree):
            owner, _, method = name.rpartition(".")
            text = ast.get_docstring(function)
            if text is None or decorators(function) & PROPERTY:
                continue  # a missing docstring is ruff's business
            try:
                doc = NumpyDocString(text)
                faults = list(untrue(function, doc))
                if (module, owner or name) in promised and not (owner and method in protocols):
                    faults += unsaid(function, doc)
            except (UserWarning, ValueError) as error:
                faults = [f"has a docstring that numpydoc cannot read: {error}"]
            for fault in faults:
                print(f"{path.relative_to(PACKAGE.parent)}:{function.lineno}: {name} {fault}")
            found += len(faults)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
