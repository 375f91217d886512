"""Reads a page of metrics with PyPI's prometheus-client, where Debian's promtool can't be had.

    pip install -r requirements.txt
    python read.py < metrics.txt

Ends with 1 and words if a metric breaks the conventions.
"""

import sys

from prometheus_client.parser import text_string_to_metric_families


def complaints(family):
    if not family.documentation:
        yield "has no help"
    if family.type not in ("counter", "gauge", "histogram"):
        yield f"is a {family.type}"
    for sample in family.samples:
        if family.type == "counter" and not sample.name.endswith("_total"):
            yield "is a counter whose name doesn't end with _total"
        if sample.value < 0:
            yield f"is negative: {sample}"


families = list(text_string_to_metric_families(sys.stdin.read()))
found = [f"{family.name} {words}" for family in families for words in complaints(family)]
print("\n".join(found) or f"{len(families)} metrics are as they should be")
sys.exit(1 if found or not families else 0)
