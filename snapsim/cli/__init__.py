"""The command line, `snapsim ...`: one module for each group of commands.

A command reads its arguments, asks the package, and prints.  What is heavy is imported inside the commands,
so that help, the version and a mistyped option answer at once.
"""

from snapsim.cli.running import main

__all__ = ["main"]
