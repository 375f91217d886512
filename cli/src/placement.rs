//! Where a process runs, and what its memory is like: flags that are for speed alone.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Failure;

/// Flags of every role that are for speed alone.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Run on these processors alone, as in 0 or 0,2 or 1-3
    ///
    /// Of several workers of a signer, each runs on one of them
    #[arg(long = "cpu", value_name = "LIST", help_heading = "Placement")]
    pub cpus: Option<Cpus>,
    /// Map all of the ring before the first message, so that none waits for a page of memory
    #[arg(long, help_heading = "Placement")]
    pub prefault: bool,
}

impl Placement {
    /// Has the calling thread, and those that it starts from now on, run where they are asked to.
    ///
    /// # Errors
    /// As [`Cpus::pin`].
    pub fn pin(&self) -> Result<(), Failure> {
        self.cpus.as_ref().map_or(Ok(()), Cpus::pin)
    }

    /// The processors, for a summary: `any` if it runs where the kernel puts it.
    #[must_use]
    pub fn cpus_name(&self) -> String {
        self.cpus.as_ref().map_or("any".to_owned(), Cpus::to_string)
    }
}

/// Some of the machine's processors: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus(Vec<usize>);

impl Cpus {
    /// The one for the `n`-th of several who share these: in turn.
    #[must_use]
    pub fn nth(&self, n: usize) -> Self {
        Self(vec![self.0[n % self.0.len()]])
    }

    /// Has the calling thread, and those that it starts from now on, run on these processors alone.
    ///
    /// # Errors
    /// Bad input: one of them isn't there, or isn't for this process.
    pub fn pin(&self) -> Result<(), Failure> {
        let mut wanted = CpuSet::new();
        self.0.iter().for_each(|cpu| wanted.set(*cpu));
        // The kernel leaves out silently what it doesn't have, if it has any of them.
        let pinned = sched_setaffinity(None, &wanted).and_then(|()| sched_getaffinity(None));
        if pinned == Ok(wanted) {
            return Ok(());
        }
        Err(Failure::bad_input(format_args!(
            "--cpu {self}: not all of these processors are there, and free to use; see `nproc` and `taskset -p $$`"
        )))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok().filter(|cpu| *cpu < CpuSet::MAX_CPU);
        let expected = || format!("processors are numbers below {}, as in 0 or 0,2 or 1-3", CpuSet::MAX_CPU);
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = number(first).zip(number(last)).ok_or_else(expected)?;
            if first > last {
                return Err(expected());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_numbers_and_ranges() {
        for (text, shown) in [("0", "0"), ("3,1", "3,1"), ("0-2,5", "0,1,2,5")] {
            let cpus: Cpus = text.parse().unwrap();
            assert_eq!(cpus.to_string(), shown);
            assert_eq!(cpus.to_string().parse(), Ok(cpus));
        }
        for bad in ["", "a", "-1", "1-", "2-1", "0,,1", "1024", "0-99999999999", "1 2"] {
            bad.parse::<Cpus>().unwrap_err();
        }
    }

    #[test]
    fn several_share_them_in_turn() {
        let cpus: Cpus = "4,7".parse().unwrap();
        assert_eq!([0, 1, 2, 3].map(|n| cpus.nth(n).to_string()), ["4", "7", "4", "7"]);
    }

    #[test]
    fn a_thread_runs_where_it_is_pinned_and_nowhere_that_is_not_there() {
        // On a thread of its own: it stays pinned.
        std::thread::spawn(|| {
            let here = rustix::thread::sched_getcpu();
            let cpus: Cpus = here.to_string().parse().unwrap();
            cpus.pin().unwrap();
            assert_eq!(rustix::thread::sched_getcpu(), here);
            let missing: Cpus = format!("{here},1023").parse().unwrap();
            assert_eq!(missing.pin().unwrap_err().exit, crate::Exit::BadInput);
        })
        .join()
        .unwrap();
    }
}
