"""Reads a page of /metrics as OpenMetrics, and prints each sample as JSON, one a line."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

for family in text_string_to_metric_families(open(sys.argv[1]).read()):
    if not family.documentation:
        sys.exit(f"{family.name} says nothing of itself")
    for sample in family.samples:
        print(json.dumps({"family": family.name, "type": family.type, "name": sample.name, "labels": sample.labels, "value": sample.value}))
