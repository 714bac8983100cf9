"""Whether a document is OpenAPI 3.1, and its examples are what it says."""

import json
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

document = json.load(open(sys.argv[1]))
for error in OpenAPIV31SpecValidator(document).iter_errors():
    sys.exit(f"{list(error.absolute_path)}: {error.message}")

registry = Registry().with_resource("urn:document", Resource.from_contents(document, default_specification=DRAFT202012))


def valid(schema, example, place):
    if "$ref" in schema:
        schema = {"$ref": "urn:document" + schema["$ref"]}
    else:
        schema = json.loads(json.dumps(schema).replace('"$ref": "#', '"$ref": "urn:document#'))
    for error in Draft202012Validator(schema, registry=registry).iter_errors(example):
        sys.exit(f"the example at {place} is not what it should be: {error.message}")


examples = 0
for path, item in document["paths"].items():
    for method, operation in item.items():
        parts = [("request", operation.get("requestBody", {}))] + list(operation["responses"].items())
        for part, body in parts:
            for content in body.get("content", {}).values():
                shown = [content["example"]] if "example" in content else []
                shown += [example["value"] for example in content.get("examples", {}).values()]
                for example in shown:
                    valid(content["schema"], example, f"{method} {path} {part}")
                    examples += 1
print(f"{len(document['paths'])} paths, {examples} examples")
