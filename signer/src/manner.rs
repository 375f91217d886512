//! How a process ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

/// How a process died, in words.
pub(crate) fn manner(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => match Signal::from_named_raw(signal) {
            Some(named) => format!("was killed by signal {signal} ({named:?})"),
            None => format!("was killed by signal {signal}"),
        },
        (None, Some(101)) => "panicked".to_owned(),
        (None, code) => format!("ended with exit code {}", code.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_told_in_words() {
        let words = [0x6500, 9, 0x0100].map(|raw| manner(ExitStatus::from_raw(raw)));
        assert_eq!(words[0], "panicked");
        assert!(words[1].starts_with("was killed by signal 9"), "{}", words[1]);
        assert_eq!(words[2], "ended with exit code 1");
    }
}
