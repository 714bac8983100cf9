"""Reads a page of /metrics in one of its forms, and prints each sample as JSON, one a line."""

import json
import sys

import prometheus_client.openmetrics.parser
import prometheus_client.parser

forms = {"openmetrics": prometheus_client.openmetrics.parser, "classic": prometheus_client.parser}
for family in forms[sys.argv[2]].text_string_to_metric_families(open(sys.argv[1]).read()):
    if not family.documentation:
        sys.exit(f"{family.name} says nothing of itself")
    for sample in family.samples:
        print(json.dumps({"family": family.name, "type": family.type, "name": sample.name, "labels": sample.labels, "value": sample.value}))
