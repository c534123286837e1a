"""The shape of the API's replies: hetzner-sim/schemas, as hetzner-sim's own tests hold it."""

import functools
import json
import pathlib

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

SCHEMAS = pathlib.Path(__file__).parents[2] / "hetzner-sim" / "schemas"


@functools.cache
def schemas():
    return {file.name: json.loads(file.read_text()) for file in SCHEMAS.glob("*.json")}


@functools.cache
def registry():
    files = [(name, Resource.from_contents(schema)) for name, schema in schemas().items()]
    return Registry().with_resources(files)


@functools.cache
def validator(reference):
    return Draft202012Validator({"$ref": reference}, registry=registry())


def problem(operation, status, body):
    """What is wrong with a reply, or None; `body` is None where there is none."""
    if status >= 400:
        reference = "error.json"
    else:
        shape = schemas()["replies.json"]["$defs"].get(operation)
        if shape is None:
            return f"{operation}: no schema for a {status}"
        if shape["x-status"] != status:
            return f"{operation}: {status} instead of {shape['x-status']}"
        reference = f"replies.json#/$defs/{operation}"
    errors = [
        f"{error.json_path}: {error.message}" for error in validator(reference).iter_errors(body)
    ]
    return f"{operation} {status}: " + "; ".join(errors[:3]) if errors else None


def check_recording(file):
    """Fails when a recorded reply has not the shape of the API and is not odd on purpose."""
    replies = [json.loads(line) for line in file.read_text().splitlines()]
    for reply in replies:
        wrong = problem(reply["operation"], reply["status"], reply["body"])
        assert reply["odd"] or wrong is None, wrong
    return len(replies)
