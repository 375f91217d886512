//! What `signer cache` says.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use extension_engine::cache::Entry;
use extension_engine::{Module, Variant};
use serde_json::json;

use cli::Method;

/// What became of a module that was to be in the cache.
pub(super) struct Warmed {
    /// Its file, or the name of the built-in one.
    pub(super) label: String,
    pub(super) sha256: [u8; 32],
    pub(super) was_there: bool,
    /// How long it took to compile or to load it.
    pub(super) time: Duration,
}

pub(super) fn entries(entries: &[Entry], as_json: bool) -> String {
    if as_json {
        let object = |entry: &Entry| {
            json!({
                "module": hex::encode(entry.key.module_sha256),
                "name": built_in(&entry.key.module_sha256),
                "runtime": entry.key.runtime.name(),
                "version": entry.key.version,
                "settings": hex::encode(entry.key.settings),
                "bytes": entry.bytes,
                "last_use": entry.used.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
                "authentic": entry.is_authentic,
            })
        };
        return format!("{}\n", entries.iter().map(object).collect::<serde_json::Value>());
    }
    let row = |cells: [&str; 7]| {
        let [module, name, runtime, version, settings, bytes, used] = cells;
        format!("{module:16}  {name:12}  {runtime:8}  {version:8}  {settings:8}  {bytes:>9}  {used}\n")
    };
    let mut text = row(["module", "name", "runtime", "version", "settings", "bytes", "last use"]);
    for entry in entries {
        let used = SystemTime::now().duration_since(entry.used).unwrap_or_default();
        let used =
            if entry.is_authentic { ago(used) } else { "not authentic: it will be deleted".to_owned() };
        text += &row([
            &hex::encode(&entry.key.module_sha256[..8]),
            built_in(&entry.key.module_sha256).as_deref().unwrap_or("-"),
            entry.key.runtime.name(),
            &entry.key.version,
            &hex::encode(&entry.key.settings[..4]),
            &entry.bytes.to_string(),
            &used,
        ]);
    }
    text
}

pub(super) fn cleared(files: u64, bytes: u64, as_json: bool) -> String {
    if as_json {
        return format!("{}\n", json!({ "files": files, "bytes": bytes }));
    }
    format!("removed {files} files, {bytes} bytes\n")
}

pub(super) fn warmed(modules: &[Warmed], as_json: bool) -> String {
    if as_json {
        let object = |module: &Warmed| {
            json!({
                "name": module.label,
                "module": hex::encode(module.sha256),
                "compiled": !module.was_there,
                "ms": module.time.as_secs_f64() * 1e3,
            })
        };
        return format!("{}\n", modules.iter().map(object).collect::<serde_json::Value>());
    }
    let mut text = String::new();
    for module in modules {
        let (sha256, ms) = (hex::encode(&module.sha256[..8]), module.time.as_secs_f64() * 1e3);
        let what = if module.was_there { "was there, loaded" } else { "compiled" };
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{} {sha256}: {what} in {ms:.1} ms", module.label);
    }
    text
}

/// The name of the built-in module with this digest.
fn built_in(sha256: &[u8; 32]) -> Option<String> {
    let modules = Method::ALL.into_iter().flat_map(|method| Variant::ALL.map(|variant| (method, variant)));
    let mut modules = modules.filter_map(|(method, variant)| Module::built_in(method.name(), variant).ok());
    modules.find(|module| module.sha256() == *sha256).map(|module| module.label().to_owned())
}

fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let told = |seconds| ago(Duration::from_secs(seconds));
        assert_eq!(
            [told(0), told(119), told(120), told(7199)],
            ["0 s ago", "119 s ago", "2 min ago", "119 min ago"]
        );
        assert_eq!([told(7200), told(172_799), told(172_800)], ["2 h ago", "47 h ago", "2 days ago"]);
    }

    #[test]
    fn a_built_in_module_is_named() {
        let module = Module::built_in("schnorr", Variant::Base).unwrap();
        assert_eq!(built_in(&module.sha256()).unwrap(), "schnorr.base");
        assert_eq!(built_in(&[0; 32]), None);
    }
}
