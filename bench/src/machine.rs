//! Where and with what a run was made.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// The lock file that this binary was built with.
const LOCK: &str = include_str!("../Cargo.lock");

/// Crates whose versions a report gives.
const CRATES: [&str; 12] = [
    "iceoryx2",
    "k256",
    "redis",
    "rustix",
    "secp256k1",
    "sha2",
    "tokio",
    "tonic",
    "wasm3",
    "wasmi",
    "wasmtime",
    "criterion",
];

/// Where and with what a run was made.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// When, in UTC.
    pub date: String,
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: Vec<usize>,
    /// The kernel.
    pub kernel: String,
    /// The memory, in GiB.
    pub memory_gib: f64,
    /// The compiler.
    pub rustc: String,
    /// The commit, and whether files differ from it.
    pub commit: String,
    /// Crates and their versions.
    pub crates: BTreeMap<String, String>,
    /// Programs and their versions.
    pub programs: BTreeMap<String, String>,
    /// How the run was asked for.
    pub arguments: Vec<String>,
    /// What it was built with.
    pub build: String,
}

impl Machine {
    /// This one, with the repository at `root`.
    pub fn here(root: &Path, cores: &[usize], build: &str) -> Self {
        let commit =
            output(Command::new("git").arg("-C").arg(root).args(["rev-parse", "--short=12", "HEAD"]));
        let dirty = output(Command::new("git").arg("-C").arg(root).args([
            "status",
            "--porcelain",
            "--untracked-files=no",
        ]));
        let changed = if dirty.is_empty() { "" } else { ", with changes" };
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu_field = |name: &str| {
            let line = info.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
            line.and_then(|line| line.split_once(':')).map_or("?", |(_, value)| value.trim()).to_owned()
        };
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib =
            memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let (family, model) = (cpu_field("cpu family"), cpu_field("model"));
        let redis = output(Command::new("redis-server").arg("--version"));
        Self {
            date: output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"])),
            cpu: format!("{} (family {family}, model {model})", cpu_field("model name")),
            cores: cores.to_vec(),
            kernel: format!("Linux {}", kernel.trim()),
            memory_gib: (kib / 1024.0 / 102.4).round() / 10.0,
            rustc: output(Command::new("rustc").arg("--version")),
            commit: format!("{commit}{changed}"),
            crates: CRATES.iter().filter_map(|name| Some(((*name).to_owned(), locked(name)?))).collect(),
            programs: [(
                "redis-server".to_owned(),
                redis.split_whitespace().nth(2).unwrap_or("none").to_owned(),
            )]
            .into(),
            // What follows are places on this machine.
            arguments: std::env::args().skip(1).take_while(|argument| argument != "--out").collect(),
            build: build.to_owned(),
        }
    }

    /// In lines, for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let list = |map: &BTreeMap<String, String>| {
            map.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
        };
        vec![
            ("processor", format!("{}; cores {:?}", self.cpu, self.cores)),
            ("kernel", self.kernel.clone()),
            ("memory", format!("{} GiB", self.memory_gib)),
            ("compiler", format!("{}; {}", self.rustc, self.build)),
            ("commit", self.commit.clone()),
            ("crates", list(&self.crates)),
            ("programs", list(&self.programs)),
            ("arguments", self.arguments.join(" ")),
        ]
    }

    /// A short word for the machine, fit for a file's name.
    pub fn slug(&self) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = self.cpu.split(" (").next().unwrap_or_default().chars().map(word).collect();
        format!(
            "{}-{}c",
            name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-"),
            self.cores.len()
        )
    }

    /// The day, fit for a file's name.
    pub fn day(&self) -> &str {
        self.date.split(' ').next().unwrap_or_default()
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    output.unwrap_or_default()
}

/// The newest version in the lock file.
fn locked(name: &str) -> Option<String> {
    let (_, rest) = LOCK.rsplit_once(&format!("\nname = \"{name}\"\nversion = \""))?;
    Some(rest.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_of_the_report_is_locked() {
        for name in CRATES {
            assert!(locked(name).is_some(), "{name}");
        }
    }
}
