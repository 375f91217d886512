//! How programs end whose ring somebody has written into, and which of the ways are none.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use cli::{Exit, Failure};
use shmem_layout::{Ring, Stage};

/// How a program has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// 0: it went on to the end.
    Done,
    /// 1: it went on to the end, and records failed.
    Failed,
    /// 3, and a line that says what the matter is.
    Refused,
    /// It waited, rightly, for what nobody does any more, and ended when it was told to.
    Idle,
    /// By this signal.
    Signal(i32),
    /// With a panic.
    Panic(String),
    /// With another exit code, or not with one line.
    Wrong(String),
    /// It did not end when it was told to.
    Hang,
    /// It waited without a word for something that is in the ring and stays there.
    Silent(String),
}

impl Ended {
    /// Judges a program that ended by itself, and said this on standard error.
    pub fn by_itself(status: ExitStatus, said: &str) -> Self {
        let lines = said.lines().count();
        match (status.code(), status.signal()) {
            (_, Some(signal)) => Self::Signal(signal),
            (Some(101), _) => Self::Panic(said.to_owned()),
            _ if said.contains("panicked at") => Self::Panic(said.to_owned()),
            (Some(code), _) if code == Exit::Done as i32 && lines == 0 => Self::Done,
            (Some(code), _) if code == Exit::Failed as i32 && lines <= 1 => Self::Failed,
            (Some(code), _) if code == Exit::Environment as i32 && lines == 1 => Self::Refused,
            (code, _) => Self::Wrong(format!("exit code {}: {said}", code.unwrap_or(-1))),
        }
    }

    /// Judges a program that was told to end.
    pub fn when_told(status: ExitStatus, said: &str) -> Self {
        match Self::by_itself(status, said) {
            Self::Done | Self::Failed | Self::Refused => Self::Idle,
            wrong => wrong,
        }
    }

    /// What is to be said against it.
    pub fn complaint(&self) -> Option<String> {
        match self {
            Self::Done | Self::Failed | Self::Refused | Self::Idle => None,
            Self::Signal(signal) => Some(format!("died by signal {signal}")),
            Self::Panic(said) => Some(format!("panicked: {said}")),
            Self::Wrong(how) => Some(format!("ended with {how}")),
            Self::Hang => Some("did not end when it was told to".to_owned()),
            Self::Silent(why) => Some(format!("waited without a word: {why}")),
        }
    }
}

/// How many programs have ended in which way.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// With exit codes 0, 1 and 3, and those that were told to.
    codes: [u64; 4],
    /// By a signal.
    pub signals: u64,
    /// With a panic.
    pub panics: u64,
    /// Not when told to.
    pub hangs: u64,
    /// Waiting without a word.
    pub silent: u64,
    /// In another wrong way.
    wrong: u64,
}

impl Ends {
    /// Counts one.
    pub fn note(&mut self, ended: &Ended) {
        let counter = match ended {
            Ended::Done => &mut self.codes[0],
            Ended::Failed => &mut self.codes[1],
            Ended::Refused => &mut self.codes[2],
            Ended::Idle => &mut self.codes[3],
            Ended::Signal(_) => &mut self.signals,
            Ended::Panic(_) => &mut self.panics,
            Ended::Wrong(_) => &mut self.wrong,
            Ended::Hang => &mut self.hangs,
            Ended::Silent(_) => &mut self.silent,
        };
        *counter += 1;
    }

    /// Adds another round's.
    pub fn add(&mut self, other: &Self) {
        for (code, more) in self.codes.iter_mut().zip(other.codes) {
            *code += more;
        }
        self.signals += other.signals;
        self.panics += other.panics;
        self.hangs += other.hangs;
        self.silent += other.silent;
        self.wrong += other.wrong;
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [done, failed, refused, idle] = self.codes;
        write!(
            f,
            "{done} with 0, {failed} with 1, {refused} with 3, {idle} idle until told to, {} otherwise",
            self.wrong
        )
    }
}

/// Why the program `name`, which goes on waiting, should not: what is in the ring that it should have said something of.
///
/// # Errors
/// The kernel doesn't say who lives.
pub fn silence(name: &str, ring: &Ring) -> Result<Option<String>, Failure> {
    let now = ring.snapshot().map_err(Failure::environment)?;
    let slots = |stage: Stage| now.slots[stage as usize - 1];
    let occupied: Vec<String> = Stage::ALL
        .into_iter()
        .filter(|stage| *stage != Stage::Free && slots(*stage) > 0)
        .map(|stage| format!("{} {}", slots(stage), stage.name()))
        .chain((!now.damaged.is_empty()).then(|| format!("{} damaged", now.damaged.len())))
        .collect();
    // A signer waits for ever for work, and all work that there is is done or claimable; but not once the stream has ended. A
    // producer and a consumer wait for what holds them up.
    let is_silent = match name {
        "signer" => slots(Stage::Closed) > 0,
        _ => !occupied.is_empty(),
    };
    Ok(is_silent.then(|| {
        format!("the ring holds {}; hints {} {} {}", occupied.join(", "), now.head, now.sign, now.tail)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_passes() {
        let ended = |raw, said: &str| Ended::by_itself(ExitStatus::from_raw(raw), said);
        assert_eq!(ended(0, ""), Ended::Done);
        assert_eq!(ended(1 << 8, "consumer: 3 records failed\n"), Ended::Failed);
        assert_eq!(ended(3 << 8, "signer: stalled\n"), Ended::Refused);
        assert_eq!(ended(9, ""), Ended::Signal(9));
        assert!(matches!(ended(101 << 8, "thread 'main' panicked at"), Ended::Panic(_)));
        // A worker's panic, which its supervisor reports.
        assert!(matches!(ended(3 << 8, "thread 'main' panicked at x\nsigner: died\n"), Ended::Panic(_)));
        for (raw, said) in
            [(0, "said"), (3 << 8, ""), (3 << 8, "one\ntwo\n"), (2 << 8, "bad\n"), (4 << 8, "")]
        {
            assert!(matches!(ended(raw, said), Ended::Wrong(_)), "{raw}");
        }
        assert_eq!(Ended::when_told(ExitStatus::from_raw(1 << 8), ""), Ended::Idle);
        assert_eq!(Ended::when_told(ExitStatus::from_raw(11), ""), Ended::Signal(11));
    }
}
