"""`snapsim policy`: what policies say, keep and change.  A module for each command, imported when needed."""

from snapsim.cli.app import group

__all__ = ["app"]

app = group("policy", "Look at snapshot policies: what they say, keep, and would change.")
_COMMANDS = {
    "show": ("show:show", "Say what a policy means, and when its next snapshots are due."),
    "check": ("check:check", "Find what is wrong with a policy, and what it comes to."),
    "explain": (
        "explain:explain",
        "Say which of the snapshots that exist a policy keeps, which it deletes, and why.",
    ),
    "calendar": ("calendar:calendar", "Show the recovery points that a policy holds, week by week."),
    "compare": ("compare:compare", "Compare policies: what they hold, how far apart, and what they cost."),
    "migrate": (
        "migrate:migrate",
        "Say what the first run under a new policy deletes, and when it has settled.",
    ),
    "import": (
        "translate:import_policy",
        "Read a policy in the words of another tool (restic, borg, sanoid, ...).",
    ),
    "export": (
        "translate:export_policy",
        "Write a policy in the words of another tool, or say what it cannot express.",
    ),
    "schema": ("schema:schema", "Print the JSON schema of policy files, for editors."),
}
for _place, (_name, (_where, _summary)) in enumerate(_COMMANDS.items()):
    app.command(f"snapsim.cli.policy.{_where}", name=_name, help=_summary, sort_key=_place)
