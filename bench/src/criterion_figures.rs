//! The group `engine`: the criterion benchmarks beside this binary (`benches/`), run and summed up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::measure::{Case, Metric, Sample, Values};
use crate::probe::Class;
use crate::process::{Process, work_folder};
use crate::report::{Group, Row, Table};
use crate::{Plan, Result};

/// What criterion writes of a benchmark: which it is.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

/// And its samples: so many iterations took so many nanoseconds.
#[derive(Deserialize)]
struct Samples {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// Runs `programs`, each a criterion benchmark, and sums up what they have measured.
pub fn run(plan: &Plan, programs: &[PathBuf]) -> Result<Group> {
    let mut group = Group { name: "engine", ..Group::default() };
    if programs.is_empty() {
        return Err("which benchmarks? (run.sh says)".into());
    }
    group.notes.push("Criterion's benchmarks of `benches/`: an iteration, with the spread of criterion's own samples as rounds.".into());
    for program in programs {
        let folder = work_folder()?;
        let name = program.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.rsplit_once('-').map_or(name.as_ref(), |(name, _)| name).to_owned();
        eprintln!("{name}");
        let mut command = Command::new(program);
        command
            .args(plan.pick(&["--bench", "--noplot"][..], &["--test"][..]))
            .env("CRITERION_HOME", folder.path());
        let log = folder.path().join("log");
        command.stdin(Stdio::null()).stdout(fs::File::create(&log)?).stderr(Stdio::null());
        let ran = Process::start(&name, &mut command)?.finish(Duration::from_secs(1200));
        let said = fs::read_to_string(&log)?;
        ran.map_err(|error| format!("{error}; it said:\n{said}"))?;
        let mut rows = Vec::new();
        collect(folder.path(), &mut rows)?;
        if rows.is_empty() {
            group.skipped.push(format!("{name}: ran once, as its short form"));
            continue;
        }
        rows.sort_by(|a, b| a.contender.cmp(&b.contender));
        let ratios =
            said.lines().filter_map(|line| line.strip_prefix("ratio ")).map(|line| format!("- {line}"));
        let notes = ratios.collect::<Vec<_>>().join("\n");
        let case = Case {
            title: name,
            metrics: vec![Metric::shown("time", "ns")],
            references: vec![],
            notes: if notes.is_empty() { vec![] } else { vec![notes] },
        };
        group.tables.push(Table::new(case, rows, 0));
    }
    Ok(group)
}

/// Everything that is called `new` below `folder` is a benchmark of this run.
fn collect(folder: &Path, rows: &mut Vec<Row>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        let (benchmark, samples) = (path.join("benchmark.json"), path.join("sample.json"));
        if path.file_name().is_some_and(|name| name == "new") && samples.is_file() {
            let benchmark: Benchmark = serde_json::from_str(&fs::read_to_string(benchmark)?)?;
            let samples: Samples = serde_json::from_str(&fs::read_to_string(samples)?)?;
            let mut row = Row::new(benchmark.full_id);
            for (round, (iterations, ns)) in samples.iters.iter().zip(&samples.times).enumerate() {
                row.samples.push(Sample {
                    round,
                    class: Class::Any,
                    line_ns: None,
                    values: Values::from([("time", ns / iterations)]),
                });
            }
            rows.push(row);
        } else {
            collect(&path, rows)?;
        }
    }
    Ok(())
}
