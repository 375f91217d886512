//! `ringseal-bench`: measures Ringseal and its peers in one run. `run.sh` builds what it needs and starts it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use ringseal_bench::machine::Machine;
use ringseal_bench::pipeline::Programs;
use ringseal_bench::report::{Group, Report};
use ringseal_bench::{Plan, Result, clock, criterion_figures, hop, process, scale, service, sign};

#[derive(Parser)]
#[command(about = "Measures Ringseal side by side with its peers; see bench/README.md")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, print and save
    Run(Run),
    /// Be another process of a contender
    #[command(hide = true, subcommand)]
    Role(Role),
}

#[derive(clap::Args)]
struct Run {
    /// What to measure [default: everything]
    groups: Vec<GroupName>,
    /// Everything once and little of it, to see that it works
    #[arg(long)]
    short: bool,
    /// How often each contender is sampled
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: usize,
    /// Messages a second at which the services are compared
    #[arg(long, value_name = "N", default_value_t = 5_000.0)]
    rate: f64,
    /// Records of the longest run of `scale`
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    work: u64,
    /// Where the report goes
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The repository
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Where Ringseal's programs are
    #[arg(long, value_name = "DIR")]
    programs: PathBuf,
    /// The native loop built without SHA instructions
    #[arg(long, value_name = "FILE")]
    soft: Option<PathBuf>,
    /// A criterion benchmark
    #[arg(long, value_name = "FILE")]
    criterion: Vec<PathBuf>,
    /// What everything was built with, for the report
    #[arg(long, value_name = "TEXT", default_value = "")]
    build: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GroupName {
    Hop,
    Sign,
    Service,
    Scale,
    Engine,
}

#[derive(Subcommand)]
enum Role {
    HopReceiver { folder: PathBuf, kind: usize, len: usize, core: usize, descriptor: Option<i32> },
    TwoHops { folder: PathBuf, kind: String, role: String, core: usize },
    Service { kind: String, role: String, folder: PathBuf },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Role(role) => be(role).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ringseal-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn be(role: Role) -> Result<()> {
    match role {
        Role::HopReceiver { folder, kind, len, core, descriptor } => {
            hop::Kind::receive(&folder, kind, len, core, descriptor)
        }
        Role::TwoHops { folder, kind, role, core } => hop::two_hops_role(&folder, &kind, &role, core),
        Role::Service { kind, role, folder } => service::role(&kind, &role, &folder),
    }
}

/// Whether every group could be measured.
fn run(arguments: &Run) -> Result<bool> {
    process::remove_leftovers();
    let cores = clock::cores()?;
    let rounds = if arguments.short { 1 } else { arguments.rounds };
    let plan = Plan { rounds, warms_up: !arguments.short, is_short: arguments.short };
    let programs = Programs::at(&arguments.programs)?;
    std::fs::create_dir_all(&arguments.out)?;
    let machine = Machine::here(&arguments.root, &cores, &arguments.build);
    let mut report = Report { format: 1, machine, is_short: arguments.short, groups: Vec::new() };
    let mut is_complete = true;
    let all = GroupName::value_variants();
    for name in all.iter().filter(|name| arguments.groups.is_empty() || arguments.groups.contains(name)) {
        let (label, measured) = match name {
            GroupName::Hop => ("hop", hop::run(&plan, &cores)),
            GroupName::Sign => ("sign", sign::run(&plan, arguments.soft.as_deref())),
            GroupName::Service => ("service", service::run(&plan, &programs, arguments.rate)),
            GroupName::Scale => {
                ("scale", scale::run(&plan, &programs, &cores, plan.pick(arguments.work, 100_000)))
            }
            GroupName::Engine => ("engine", criterion_figures::run(&plan, &arguments.criterion)),
        };
        // What was measured before is worth keeping.
        report.groups.push(measured.unwrap_or_else(|error| {
            eprintln!("ringseal-bench: {label}: {error}");
            is_complete = false;
            Group { name: label, skipped: vec![format!("it failed: {error}")], ..Group::default() }
        }));
    }
    save(&report, &arguments.out, &arguments.groups)?;
    Ok(is_complete)
}

fn save(report: &Report, folder: &Path, groups: &[GroupName]) -> Result<()> {
    let mut name = format!("{}-{}", report.machine.day(), report.machine.slug());
    for group in groups {
        name += &format!("-{group:?}").to_lowercase();
    }
    if report.is_short {
        name += "-short";
    }
    let text = report.to_markdown();
    print!("{text}");
    let path = folder.join(name);
    std::fs::write(path.with_extension("md"), &text)?;
    std::fs::write(path.with_extension("json"), serde_json::to_string_pretty(report)? + "\n")?;
    eprintln!("{} and .json", path.with_extension("md").display());
    Ok(())
}
