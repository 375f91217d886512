"""Reads a run's histogram files with PyPI's hdrhistogram and holds them against its summary.json.

    pip install -r requirements.txt
    python read.py RUN-FOLDER

Ends with 1 and words where they differ.
"""

import json
import math
import re
import sys
from pathlib import Path

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

BOUNDS = (1, 3_600_000_000_000, 3)
STAGES = ("queue", "sign", "verify", "end_to_end")
QUANTILES = {"p50_ns": 0.5, "p90_ns": 0.9, "p99_ns": 0.99, "p99_9_ns": 0.999}
HEADER = "       Value     Percentile TotalCount 1/(1-Percentile)"
ROW = re.compile(r"^ *(\d+\.\d{3}) ([01]\.\d{12}) +(\d+)(?: +(\d+\.\d{2}))?$")


class Mismatch(Exception):
    pass


def expect(what, ours, theirs):
    if ours != theirs:
        raise Mismatch(f"{what}: ours {ours}, hdrhistogram's {theirs}")


def read_log(path):
    """The sum of all intervals of each stage; lines without a tag are end_to_end."""
    totals = {stage: HdrHistogram(*BOUNDS) for stage in STAGES}
    reader = HistogramLogReader(str(path), HdrHistogram(*BOUNDS))
    lines = 0
    while (interval := reader.get_next_interval_histogram()) is not None:
        totals[interval.get_tag() or "end_to_end"].add(interval)
        lines += 1
    written = sum(not line.startswith(("#", '"')) for line in path.read_text().splitlines())
    expect(f"{path.name}: lines", written, lines)
    return totals


def value_of_count(histogram, count):
    """The value that `count` values are at most.

    The library rounds the count of a percentile to the nearest, HdrHistogram rounds it up: so it is asked for the
    very percentile of a whole count.
    """
    return histogram.get_value_at_percentile(100.0 * count / histogram.get_total_count())


def check_summary(stage, summary, histogram):
    count = histogram.get_total_count()
    expect(f"{stage}: count", summary["count"], count)
    if count == 0:
        expect(f"{stage}: values of nothing", {summary[name] for name in (*QUANTILES, "max_ns")}, {None})
        return
    for name, quantile in QUANTILES.items():
        theirs = value_of_count(histogram, max(1, math.ceil(quantile * count)))
        expect(f"{stage}: {name}", summary[name], theirs)
    expect(f"{stage}: min_ns", summary["min_ns"], histogram.get_min_value())
    expect(f"{stage}: max_ns", summary["max_ns"], histogram.get_max_value())
    for name, theirs in (("mean_ns", histogram.get_mean_value()), ("stddev_ns", histogram.get_stddev())):
        if not math.isclose(summary[name], theirs, rel_tol=1e-9, abs_tol=1e-9):
            raise Mismatch(f"{stage}: {name}: ours {summary[name]}, hdrhistogram's {theirs}")


def check_distribution(path, histogram):
    count = histogram.get_total_count()
    lines = path.read_text().splitlines()
    expect(f"{path.name}: header", lines[:2], [HEADER, ""])
    rows, footer = lines[2:-3], lines[-3:]
    last_level = -1.0
    for number, line in enumerate(rows, start=3):
        row = ROW.match(line)
        if row is None:
            raise Mismatch(f"{path.name}:{number}: not a row: {line!r}")
        value, percentile, count_to_here, rest = row.groups()
        theirs = value_of_count(histogram, int(count_to_here)) / 1000
        expect(f"{path.name}:{number}: value", value, f"{theirs:.3f}")
        level = float(percentile)
        if not last_level < level <= int(count_to_here) / count + 1e-12:
            raise Mismatch(f"{path.name}:{number}: percentile {percentile} is out of place")
        last_level = level
        if not (rest is None if level == 1 else math.isclose(float(rest), 1 / (1 - level), rel_tol=1e-5, abs_tol=0.01)):
            raise Mismatch(f"{path.name}:{number}: fourth column {rest} is not 1/(1-{percentile})")
    if count > 0:
        expect(f"{path.name}: rows", len(rows) > 1, True)
        expect(f"{path.name}: last row", rows[-1].split()[1:], ["1.000000000000", str(count)])
    expect(
        f"{path.name}: footer",
        footer,
        [
            f"#[Mean    = {histogram.get_mean_value() / 1000:12.3f}, "
            f"StdDeviation   = {histogram.get_stddev() / 1000:12.3f}]",
            f"#[Max     = {histogram.get_max_value() / 1000:12.3f}, Total count    = {count:12d}]",
            f"#[Buckets = {histogram.bucket_count:12d}, SubBuckets     = {histogram.sub_bucket_count:12d}]",
        ],
    )


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: read.py RUN-FOLDER")
    folder = Path(sys.argv[1])
    summary = json.loads((folder / "summary.json").read_text())
    totals = read_log(folder / "latency.hlog")
    for stage in STAGES:
        check_summary(stage, summary["stages"][stage], totals[stage])
        check_distribution(folder / f"{stage}.hgrm", totals[stage])
    print("hdrhistogram agrees:", ", ".join(f"{stage} {totals[stage].get_total_count()}" for stage in STAGES))


if __name__ == "__main__":
    try:
        main()
    except (Mismatch, OSError, ValueError, KeyError) as problem:
        sys.exit(f"read.py: {type(problem).__name__}: {problem}")
