"""The whole language in files: what is written is read back, and the schema knows it."""

import dataclasses
import tomllib

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapsim.policy import Policy
from snapsim.policy.files import json_schema
from tests.policy import language

# validating against a schema takes as long as ten decisions
FEW = settings(max_examples=max(settings.default.max_examples // 2, 20))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def policies():
    return language.policies().map(lambda one: one[0] if isinstance(one, tuple) else one)


@FEW
@given(policies(), st.sampled_from(["", "vm", "a b", "ü", 'q"']))
def test_written_policies_are_read_back(policy, name):
    policy = dataclasses.replace(policy, name=name)
    text = policy.to_toml()
    assert Policy.from_toml(text) == policy
    assert Policy.from_toml(text).rules == policy.rules
    VALIDATOR.validate(tomllib.loads(text))


@given(policies())
def test_a_policy_says_in_python_what_it_is(policy):
    said = policy.said()
    again = Policy(**{**said, "schedule": policy.schedule} if "schedule" in said else said)
    assert again == policy
    assert hash(again) == hash(policy)


@pytest.mark.parametrize(
    "text",
    [
        "keep_daily = -1",
        'keep_dayly = 7\nschedule = "1d"',
        'combine = "all"',
        "[policy.a]\n[policy.a.protect]\nnewst = 1",
        '[policy.a]\n[policy.a.class.x]\nkind = "tape"',
        "[[keep]]\nkeep = 0",
        '[[keep]]\nbucket = "decade"',
    ],
)
def test_editors_are_told_of_mistakes(text):
    assert not VALIDATOR.is_valid(tomllib.loads(text))


def test_the_schema_describes_every_key():
    undescribed = [
        f"{table}.{key}"
        for table, schema in json_schema()["$defs"].items()
        for key, value in schema.get("properties", {}).items()
        if "description" not in value
    ]
    assert not undescribed
