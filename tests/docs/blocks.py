"""Documents as tests: what stands in their code blocks, and how it is run.

- ``python`` blocks run one after the other, in one namespace for each document.  Where one has ``>>>``, its
  output is compared as in a docstring.
- ``console`` blocks hold ``$ snapsim ...`` commands; the output that is shown is compared, and ``...`` stands
  for anything.
- A block with a file name after its language (``toml my.toml``) is written to that file.
- Blocks in other languages are only shown.
"""

import contextlib
import doctest
import io
import re
import shlex
from typing import NamedTuple

from snapsim.cli import main

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    line: int
    language: str
    file: str
    text: str


def blocks(text):
    found = []
    for match in FENCE.finditer(text):
        language, _, file = match["info"].strip().partition(" ")
        found.append(Block(text[: match.start()].count("\n") + 1, language, file, match["text"]))
    return found


def prose(text):
    """Return a document without its code blocks."""
    return FENCE.sub("", text)


class Session:
    """One document, block by block."""

    def __init__(self, document, folder):
        self.document = document
        self.folder = folder
        self.names = {"__name__": "document"}
        self.status = 0

    def run(self, block):
        if block.file:
            (self.folder / block.file).write_text(block.text)
        elif block.language == "python":
            self.python(block)
        elif block.language == "console":
            self.console(block)

    def python(self, block):
        where = f"{self.document}:{block.line}"
        if ">>> " not in block.text:
            padding = "\n" * block.line  # so that errors name the line of the document
            exec(compile(padding + block.text, where, "exec"), self.names)
            return
        test = doctest.DocTestParser().get_doctest(block.text, self.names, where, where, block.line)
        test.globs = self.names  # the parser copies them; later blocks go on where this one stops
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        told = io.StringIO()
        runner.run(test, out=told.write, clear_globs=False)
        assert runner.failures == 0, told.getvalue()

    def console(self, block):
        for command, shown in commands(block.text):
            got = self.shell(command)
            if shown.strip():
                same = doctest.OutputChecker().check_output(shown, got, doctest.ELLIPSIS)
                assert same, f"{self.document}:{block.line}: $ {command}\nshown:\n{shown}\ngot:\n{got}"

    def shell(self, command):
        words = shlex.split(command)
        if words == ["echo", "$?"]:
            return f"{self.status}\n"
        assert words[0] == "snapsim", f"{self.document}: console blocks run snapsim, not {words[0]}"
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            self.status = main(words[1:])
        return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def commands(text):
    """Yield the commands of a console block and the output that follows each."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = re.sub(r"\\\n\s*", " ", part).partition("\n")
        yield command, output
