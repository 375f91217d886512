// Reads a run's histogram files with npm's hdr-histogram-js and holds them against its summary.json. The library is
// a port of HdrHistogram itself, so its percentile distributions must be ours to the byte.
//
//     npm ci
//     node read.mjs RUN-FOLDER
//
// Ends with 1 and words where they differ.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import hdr from "hdr-histogram-js";

const STAGES = ["queue", "sign", "verify", "end_to_end"];
const PERCENTILES = { p50_ns: 50, p90_ns: 90, p99_ns: 99, p99_9_ns: 99.9 };

class Mismatch extends Error {}

function expect(what, ours, theirs) {
  if (ours !== theirs) {
    throw new Mismatch(`${what}: ours ${ours}, hdr-histogram-js's ${theirs}`);
  }
}

// The sum of all intervals of each stage; lines without a tag are end_to_end.
function readLog(path) {
  const empty = () =>
    hdr.build({
      lowestDiscernibleValue: 1,
      highestTrackableValue: 3_600_000_000_000,
      numberOfSignificantValueDigits: 3,
      bitBucketSize: 64,
    });
  const totals = new Map(STAGES.map((stage) => [stage, empty()]));
  const text = readFileSync(path, "utf8");
  const reader = new hdr.HistogramLogReader(text, 64);
  let lines = 0;
  for (let interval; (interval = reader.nextIntervalHistogram()) !== null; lines += 1) {
    const stage = interval.tag === "NO TAG" ? "end_to_end" : interval.tag;
    totals.get(stage).add(interval);
  }
  const written = text.split("\n").filter((line) => line !== "" && !/^[#"]/.test(line)).length;
  expect("latency.hlog: lines", written, lines);
  return totals;
}

function checkSummary(stage, summary, histogram) {
  const count = histogram.totalCount;
  expect(`${stage}: count`, summary.count, count);
  for (const [name, percentile] of Object.entries(PERCENTILES)) {
    expect(`${stage}: ${name}`, summary[name], count === 0 ? null : histogram.getValueAtPercentile(percentile));
  }
  if (count === 0) {
    return;
  }
  expect(`${stage}: max_ns`, summary.max_ns, histogram.maxValue);
  for (const [name, theirs] of [["mean_ns", histogram.mean], ["stddev_ns", histogram.stdDeviation]]) {
    if (!(Math.abs(summary[name] - theirs) <= 1e-9 * (1 + Math.abs(theirs)))) {
      throw new Mismatch(`${stage}: ${name}: ours ${summary[name]}, hdr-histogram-js's ${theirs}`);
    }
  }
}

function checkDistribution(path, histogram) {
  const ours = readFileSync(path, "utf8").split("\n");
  const theirs = histogram.outputPercentileDistribution(5, 1000).split("\n");
  theirs.forEach((line, index) => expect(`${path}:${index + 1}`, ours[index], line));
  expect(`${path}: lines`, ours.length, theirs.length);
}

function main(folder) {
  const summary = JSON.parse(readFileSync(join(folder, "summary.json"), "utf8"));
  const totals = readLog(join(folder, "latency.hlog"));
  for (const stage of STAGES) {
    checkSummary(stage, summary.stages[stage], totals.get(stage));
    checkDistribution(join(folder, `${stage}.hgrm`), totals.get(stage));
  }
  const counts = STAGES.map((stage) => `${stage} ${totals.get(stage).totalCount}`);
  console.log(`hdr-histogram-js agrees: ${counts.join(", ")}`);
}

if (process.argv.length !== 3) {
  console.error("usage: read.mjs RUN-FOLDER");
  process.exit(1);
}
try {
  main(process.argv[2]);
} catch (problem) {
  console.error(`read.mjs: ${problem.constructor.name}: ${problem.message}`);
  process.exit(1);
}
