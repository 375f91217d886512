//! The machine that a run was measured on, as the kernel describes it.

use std::fs;

use serde::{Deserialize, Serialize};

/// A machine. `None`: the kernel didn't say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processors' model.
    pub cpu: Option<String>,
    /// How many the machine has, whether this process may use them or not.
    pub cpus: Option<usize>,
    /// The kernel's release.
    pub kernel: Option<String>,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Self { kernel: release.map(|release| release.trim().to_owned()), ..Self::of_cpuinfo(&info) }
    }

    fn of_cpuinfo(info: &str) -> Self {
        let values = |name: &'static str| {
            let pairs = info.lines().filter_map(|line| line.split_once(':'));
            pairs.filter(move |(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
        };
        let cpus = values("processor").count();
        Self { cpu: values("model name").next(), cpus: (cpus > 0).then_some(cpus), kernel: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_and_what_is_not_said_is_not_made_up() {
        let info = "processor\t: 0\nmodel name\t: EPYC: 7\n\nprocessor\t: 1\nmodel name\t: EPYC: 7\n";
        let machine = Machine::of_cpuinfo(info);
        assert_eq!((machine.cpu.as_deref(), machine.cpus), (Some("EPYC: 7"), Some(2)));
        let machine = Machine::of_cpuinfo("");
        assert_eq!((machine.cpu, machine.cpus), (None, None));
        assert!(Machine::this().kernel.is_some());
    }
}
