"""`snapsim policy schema`: what editors need to check and complete policy files."""

import json

__all__ = ["schema"]


def schema() -> None:
    """Print the JSON schema of policy files, for editors that check and complete them."""
    from snapsim.policy.files import json_schema

    print(json.dumps(json_schema(), indent=2))
