"""The tree of commands.  Those of a group are imported when the group is asked for."""

import traceback
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from snapsim._version import __version__

__all__ = ["app", "group"]

_EPILOGUE = """\
Every command takes --json: standard output then holds one JSON value and nothing else.

Exit status:
    0  done
    1  failed
    2  a mistake in the command line, in a policy or in a mechanism file
    3  a trace cannot be read or stored
    4  not enough memory
  130  interrupted (Ctrl-C); 143 terminated: nothing is left half-written
  141  whoever read the output has stopped reading"""

_NOTHING: tuple[Any, ...] = (None, False, 0, "", (), [])


def _default(value: Any) -> str | None:
    """Show a default only where it says something."""
    return None if value in _NOTHING else str(value)


def group(name: str, summary: str, *, epilogue: str = "", **more: Any) -> App:
    """Make a command, or a group of them, that looks and behaves as all others do.

    Parameters
    ----------
    name : str
        What is typed.
    summary : str
        For the help.
    epilogue : str
        At the end of the help.
    **more
        Passed on.

    Returns
    -------
    App
        Without commands.
    """
    return App(
        name=name,
        help=summary,
        help_format="plaintext",
        help_epilogue=epilogue,
        default_parameter=Parameter(negative=(), show_default=_default),
        suppress_keyboard_interrupt=False,
        **more,
    )


app = group(
    "snapsim",
    "How much space snapshots need and what they cost, counted from a disk's own I/O trace.",
    version=__version__,
    epilogue=_EPILOGUE,
)
_COMMANDS = {
    "trace": "Look at traces, convert them, count what is in them.",
    "data": "Find traces: those that come with snapsim, and public ones.",
    "record": "Record what a virtual machine or a disk is asked to do.",
    "changes": "Make a trace of snapshots that exist already, from what changed between them.",
    "simulate": "Say how much space the snapshots of a policy need.",
    "replay": "Say what snapshots cost the guest: bytes, latency, merges.",
    "compare-mechanisms": "Put side by side what several systems' snapshots cost the guest.",
    "restore-time": "Say what restoring each kept snapshot would move, and how long it would take.",
    "clones": "Follow many clones of one base image: growth, and resets of all of them.",
    "mechanisms": "List what real systems do with snapshots.",
    "device": "List storage devices, and measure your own.",
    "policy": "Look at snapshot policies.",
    "validate": "Drive real systems and the simulator through the same operations, and compare.",
    "report": "Write what a trace is as one HTML page.",
}
for _place, (_name, _summary) in enumerate(_COMMANDS.items()):
    app.command(f"snapsim.cli.{_name.replace('-', '_')}:app", name=_name, help=_summary, sort_key=_place)

app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    debug: Annotated[
        bool,
        Parameter(
            negative=(), show_default=False, env_var="SNAPSIM_DEBUG", group=Group("Everywhere", sort_key=99)
        ),
    ] = False,
) -> Any:
    """Run a command.

    Parameters
    ----------
    *tokens : str
        The command and its arguments.
    debug : bool
        Show where an error was raised.

    Returns
    -------
    Any
        What the command returned.
    """
    try:
        return app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except Exception:
        if debug:
            traceback.print_exc()
        raise
