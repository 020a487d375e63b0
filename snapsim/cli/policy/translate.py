"""`snapsim policy import` and `export`: policies in the words of other tools."""

import re
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from snapsim.cli.output import check_writable
from snapsim.cli.policy.arguments import PolicyFile, read_policy
from snapsim.errors import UsageError

__all__ = ["export_policy", "import_policy"]

_OUTPUT = Group("Output", sort_key=20)
_TEXT = (
    'The tool\'s options or text, or a file with its configuration; standard input for "-", or for nothing.'
)
_Words = Annotated[str, Parameter(metavar="WORDS", allow_leading_hyphen=True, help=_TEXT)]
_Output = Annotated[Path | None, Parameter(name=["--output", "-o"], group=_OUTPUT, metavar="FILE")]
_From = Annotated[str, Parameter(name="--from", metavar="TOOL")]
_To = Annotated[str, Parameter(name="--to", metavar="TOOL")]
_Zone = Annotated[str | None, Parameter(metavar="ZONE")]


def import_policy(
    *words: _Words, source: _From, name: str = "", timezone: _Zone = None, output: _Output = None
) -> None:
    """Read a policy in the words of another tool, and print it as a policy file that decides so.

    What is not about retention is left aside, and said on standard error.

    Parameters
    ----------
    *words : str
        The tool's options or text, or a file with its configuration; standard input for "-", or for nothing.
    source : str
        Which tool: restic, restic-0.14, borg-1.2, borg-2, proxmox, sanoid, snapper, btrbk, zrepl, kopia,
        znapzend, zfs-autobackup or velero.
    name : str
        The policy's name.
    timezone : str, optional
        The zone in which the tool runs, if it decides in local time.
    output : Path, optional
        Write a file instead.
    """
    from snapsim.policy import translation

    check_writable(output)
    read = translation.import_policy(_text(words), source, name=name, timezone=timezone)
    for note in read.notes:
        print(f"snapsim: note: {note}", file=sys.stderr)
    _give(read.policy.to_toml(), output)


def export_policy(
    policy: PolicyFile, /, *, to: _To, approximate: bool = False, output: _Output = None
) -> None:
    """Write a policy in the words of another tool, or say what that tool cannot express.

    Parameters
    ----------
    policy : str
        A policy file, FILE:NAME where it has several, or the name of a preset.
    to : str
        Which tool, as `snapsim policy import` names it.
    approximate : bool
        Write what comes near, with the differences as comments.
    output : Path, optional
        Write a file instead.
    """
    from snapsim.policy import translation

    check_writable(output)
    _give(translation.export_policy(read_policy(policy), to, approximate=approximate), output)


def _text(words: tuple[str, ...]) -> str:
    if words in {(), ("-",)}:
        return sys.stdin.read()
    if len(words) == 1:
        path = Path(words[0])
        try:
            if path.is_file():
                return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from None
        if re.fullmatch(r"[^-=\s|][^=\s|]*(/[^=\s|]*|\.[A-Za-z]+)", words[0]):
            raise UsageError(f"there is no file {path}: name the file, or give the tool's own words")
    return " ".join(words)


def _give(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    from snapsim.traces.atomic import replacing

    with replacing(output) as folder:
        (folder / output.name).write_text(text, encoding="utf-8")
