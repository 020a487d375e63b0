"""Policies in the own words of other tools: read into the language, and written back.

Reading gives a policy with `compat`, which decides exactly as the tool does.  Writing gives the tool's own
configuration, or says what the tool cannot express.
"""

from snapsim.policy.translation.common import (
    Translated,
    differences,
    export_policy,
    import_policy,
    translators,
)

__all__ = ["Translated", "differences", "export_policy", "import_policy", "translators"]
