//! Answers for people: short, aligned, on one screen.

use std::fmt::Write;
use std::time::Duration;

use control_protocol::protocol as proto;

use super::arguments::Task;

pub(super) fn done(task: &Task) -> String {
    match task {
        Task::Drain => "draining: what is claimed is finished, then the signer ends\n",
        Task::Limits(_) => "limits changed\n",
        _ => "done\n",
    }
    .into()
}

pub(super) fn status(status: &proto::StatusResponse) -> String {
    let mut text = format!(
        "signer {}, pid {}, up {}, ring {}{}\n",
        status.version,
        status.pid,
        time(Duration::from_millis(status.uptime_ms)),
        status.ring,
        if status.draining { ", draining" } else { "" },
    );
    // Writing to a string can't fail.
    let _ = writeln!(text, "public key {}, memory locked: {}", status.public_key, status.memory_locked);
    if let Some(limits) = &status.limits {
        let _ = writeln!(
            text,
            "limits: memory {}, deadline {}, stack {}, module {}, compile {}",
            bytes(limits.memory_bytes),
            time(Duration::from_millis(limits.deadline_ms)),
            bytes(limits.stack_bytes.into()),
            bytes(limits.module_bytes),
            time(Duration::from_millis(limits.compile_ms)),
        );
    }
    if let Some(c) = &status.counters {
        let _ = writeln!(
            text,
            "records: {} signed, {} failed, in {} batches; {} restores, {} replacements, {} worker deaths",
            c.signed, c.failed, c.batches, c.restores, c.replacements, c.worker_deaths
        );
        let _ = writeln!(
            text,
            "swaps: {}, generation {}; cache: {} from memory, {} from disk, {} compiled",
            c.swaps, status.generation, c.cache_memory_hits, c.cache_disk_hits, c.cache_misses
        );
    }
    text.push('\n');
    text.push_str(&modules_table(&status.methods, false));
    text.push('\n');
    let mut rows = vec![row(["worker", "pid", "state", "generation", "signed", "failed", "deaths", ""])];
    for worker in &status.workers {
        rows.push(vec![
            worker.number.to_string(),
            if worker.pid == 0 { "-".into() } else { worker.pid.to_string() },
            worker.state.clone(),
            worker.generation.to_string(),
            worker.signed.to_string(),
            worker.failed.to_string(),
            worker.deaths.to_string(),
            worker.last_death.clone(),
        ]);
    }
    text + &table(&rows)
}

pub(super) fn modules(answer: &proto::ListModulesResponse) -> String {
    modules_table(&answer.modules, true)
}

fn modules_table(modules: &[proto::Module], with_past: bool) -> String {
    let mut rows = vec![row(["method", "runtime", "generation", "since", "sha256", "module"])];
    for module in modules {
        let mut name = module.label.clone();
        if !module.variant.is_empty() {
            let _ = write!(name, " ({})", module.variant);
        }
        if with_past && module.present {
            name.push_str(", serves");
        }
        let sha256 = module.sha256.get(..12).unwrap_or(&module.sha256);
        rows.push(vec![
            module.method.clone(),
            module.runtime.clone(),
            module.generation.to_string(),
            utc(module.since_unix_ms),
            if sha256.is_empty() { "-".into() } else { sha256.into() },
            name,
        ]);
    }
    table(&rows)
}

pub(super) fn swapped(answer: &proto::SwapModuleResponse) -> String {
    let module = answer.module.clone().unwrap_or_default();
    format!(
        "{}: {} on {}, generation {} (prepared in {}, installed in {}, switched in {})\n",
        module.method,
        module.label,
        module.runtime,
        module.generation,
        time(Duration::from_nanos(answer.prepare_ns)),
        time(Duration::from_nanos(answer.install_ns)),
        time(Duration::from_nanos(answer.switch_ns)),
    )
}

pub(super) fn rotated(answer: &proto::RotateKeyResponse) -> String {
    format!("public key {}\n", answer.public_key)
}

pub(super) fn event(event: &proto::Event) -> String {
    let mut line = String::new();
    if event.missed > 0 {
        let _ = writeln!(line, "({} events missed)", event.missed);
    }
    let _ = write!(line, "{}  {}", utc(event.unix_ms), event.kind);
    if let Some(worker) = event.worker {
        let _ = write!(line, "  worker {worker}");
    }
    if let Some(method) = &event.method {
        let _ = write!(line, "  {method}");
    }
    if let Some(generation) = event.generation {
        let _ = write!(line, "  generation {generation}");
    }
    if !event.text.is_empty() {
        let _ = write!(line, "  {}", event.text);
    }
    line + "\n"
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(String::from).into()
}

/// Columns as wide as what is in them: numbers to the right, the rest to the left.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let is_number = |cell: &String| cell == "-" || cell.bytes().all(|byte| byte.is_ascii_digit());
    let shapes: Vec<(usize, bool)> = (0..columns)
        .map(|column| {
            let width = cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0);
            (width, rows.len() > 1 && cells(column).skip(1).all(is_number))
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, &(width, to_the_right)) in row.iter().zip(&shapes) {
            let _ = match to_the_right {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A size in the largest unit that leaves a whole number.
fn bytes(count: u64) -> String {
    match count {
        count if count >= 1 << 20 && count % (1 << 20) == 0 => format!("{} MiB", count >> 20),
        count if count >= 1 << 10 && count % (1 << 10) == 0 => format!("{} KiB", count >> 10),
        count => format!("{count} bytes"),
    }
}

/// A time to two or three digits.
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match time.as_nanos() {
        ns if ns < 10_000 => format!("{ns} ns"),
        ns if ns < 10_000_000 => format!("{} µs", ns / 1_000),
        ns if ns < 10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ if seconds < 600 => format!("{seconds} s"),
        _ if seconds < 10 * 3600 => format!("{} min", seconds / 60),
        _ if seconds < 10 * 86400 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

/// `2026-11-20T17:31:02.123Z`.
fn utc(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Howard Hinnant's civil_from_days, for days since 1970: years begin in March, eras have 400 of them.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        let shown = [1, 9_999, 10_000, 9_999_999, 10_000_000, 15_000_000_000]
            .map(|ns| time(Duration::from_nanos(ns)));
        assert_eq!(shown, ["1 ns", "9999 ns", "10 µs", "9999 µs", "10 ms", "15 s"]);
        assert_eq!([64 << 20, 512 << 10, 1000].map(bytes), ["64 MiB", "512 KiB", "1000 bytes"]);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let dates = [0, 951_782_400_000, 951_868_800_000, 1_795_195_862_123, 4_107_542_399_999].map(utc);
        let expected = [
            "1970-01-01T00:00:00.000Z",
            "2000-02-29T00:00:00.000Z",
            "2000-03-01T00:00:00.000Z",
            "2026-11-20T17:31:02.123Z",
            "2100-02-28T23:59:59.999Z",
        ];
        assert_eq!(dates, expected);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [row(["name", "count"]), row(["a", "5"]), row(["long name", "12345"])];
        assert_eq!(table(&rows), "name       count\na              5\nlong name  12345\n");
    }
}
