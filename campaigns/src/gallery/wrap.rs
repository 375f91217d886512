//! Makes a hostile module of a real one: the real one in text, with what an exhibit puts in the place of its exports.
//!
//! So it signs as the real one does, passes the known-answer test, and does harm when it chooses to.

use std::fmt::Write;

use super::exhibits::Exhibit;

/// What every exhibit with a trigger is made of.
const TRIGGER: &str = include_str!("modules/trigger.wat");
const HELPERS: &str = include_str!("modules/helpers.wat");
/// Functions that an exhibit may bring of its own, and what there is if it doesn't.
const DEFAULTS: [(&str, &str); 3] = [
    ("(func $before ", include_str!("modules/before.wat")),
    ("(func $after ", include_str!("modules/after.wat")),
    ("(func $see ", include_str!("modules/see.wat")),
];

/// A real module in text.
pub struct Real(String);

impl Real {
    /// `module`, with a name for each of its parts, so that others may come before.
    ///
    /// # Errors
    /// It is none.
    pub fn new(module: &[u8]) -> Result<Self, String> {
        let mut text = String::new();
        let mut config = wasmprinter::Config::new();
        config
            .name_unnamed(true)
            .print(module, &mut wasmprinter::PrintFmtWrite(&mut text))
            .map_err(|error| error.to_string())?;
        Ok(Self(text))
    }

    /// This module as `exhibit` changes it.
    ///
    /// # Errors
    /// The result is no WebAssembly text: says what and where.
    pub fn wrap(&self, exhibit: &Exhibit) -> Result<Vec<u8>, String> {
        wrap(&self.0, exhibit)
    }
}

fn wrap(text: &str, exhibit: &Exhibit) -> Result<Vec<u8>, String> {
    let mut piece = exhibit.piece.clone();
    if !piece.contains("(export \"WasmRun\"") && !exhibit.drops("(export \"WasmRun\"") {
        piece.push_str(TRIGGER);
        for (function, default) in DEFAULTS {
            if !piece.contains(function) {
                piece.push_str(default);
            }
        }
        piece.push_str(HELPERS);
    }
    let (imports, mut piece) = split_imports(&piece);
    let mut wrapped = String::with_capacity(text.len() + piece.len());
    for line in text.trim_end().strip_suffix(')').unwrap_or(text).lines() {
        let item = line.trim_start();
        if let Some((name, function)) = exported_function(item) {
            piece = piece.replace(&format!("$real.{name} "), &format!("{function} "));
            piece = piece.replace(&format!("$real.{name})"), &format!("{function})"));
            if piece.contains(&format!("(export \"{name}\")")) {
                continue;
            }
        }
        if exhibit.drops(item) {
            continue;
        }
        wrapped.push_str(line);
        wrapped.push('\n');
        if item == "(module" {
            wrapped.push_str(&imports);
        }
    }
    wrapped.push_str(&piece);
    wrapped.push(')');
    let mut bytes = wat::parse_str(&wrapped).map_err(|error| format!("{}: {error}", exhibit.name))?;
    if exhibit.padding > 0 {
        push_custom_section(&mut bytes, &vec![0; exhibit.padding]);
    }
    Ok(bytes)
}

/// The lines with imports, which come first in a module, and the others.
fn split_imports(piece: &str) -> (String, String) {
    let (mut imports, mut rest) = (String::new(), String::new());
    let mut depth = 0;
    for line in piece.lines() {
        let is_import = depth > 0 || line.starts_with("(import ");
        if is_import {
            depth += line.matches('(').count() as i64 - line.matches(')').count() as i64;
        }
        // Nobody is left to hear of a failure: a string takes all.
        let _ = writeln!(if is_import { &mut imports } else { &mut rest }, "{line}");
    }
    (imports, rest)
}

/// The name and the function of `(export "NAME" (func FUNCTION))`.
fn exported_function(item: &str) -> Option<(&str, &str)> {
    let (name, function) = item.strip_prefix("(export \"")?.split_once("\" (func ")?;
    Some((name, function.trim_end_matches(')')))
}

/// Adds a custom section with these `bytes` in it.
pub fn push_custom_section(module: &mut Vec<u8>, bytes: &[u8]) {
    const NAME: &[u8] = b"\x03pad";
    module.push(0);
    let mut len = NAME.len() + bytes.len();
    while len >= 0x80 {
        module.push(len as u8 | 0x80);
        len >>= 7;
    }
    module.push(len as u8);
    module.extend_from_slice(NAME);
    module.extend_from_slice(bytes);
}
