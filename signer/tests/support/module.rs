//! An extension for tests, in the text format: its signature is 64 times the message's first byte.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and each file uses its own part of this"
)]

/// The parts that a test may want otherwise.
pub struct Module {
    /// The name of the version's export.
    pub version: &'static str,
    /// More imports, or data.
    pub imports: String,
    /// What is done before a message is signed; its first byte is in `$byte`.
    pub before: &'static str,
    /// The name that `WasmReset` is exported under.
    pub reset: &'static str,
    /// Byte `$i` of what a record is answered with, whatever was asked (`$kind`).
    pub value: &'static str,
}

impl Default for Module {
    fn default() -> Self {
        Self {
            version: "WasmAbiVersion_1_0",
            imports: String::new(),
            before: "",
            reset: "WasmReset",
            value: "(local.get $byte)",
        }
    }
}

impl Module {
    /// The binary.
    pub fn bytes(&self) -> Vec<u8> {
        let Self { version, imports, before, reset, value } = self;
        let text = format!(
            r#"(module
  {imports}
  (memory (export "memory") 4)
  (func (export "{version}"))
  (func (export "WasmInit"))
  (func (export "WasmFinit"))
  (func (export "{reset}"))
  (func (export "WasmOnRead") (param i32 i32 i32))
  (func (export "WasmMalloc") (param i32) (result i32) i32.const 65536)
  (func (export "WasmRun") (param $name i32) (param $kind i32) (param $arg i32) (result i32)
    (local $record i32) (local $end i32) (local $byte i32) (local $out i32) (local $i i32)
    (local.set $record (i32.add (local.get $arg) (i32.const 32)))
    (local.set $end
      (i32.add (local.get $record) (i32.mul (i32.load offset=4 (local.get $arg)) (i32.const 32))))
    (loop $records
      (if (i32.lt_u (local.get $record) (local.get $end))
        (then
          (local.set $byte (i32.load8_u (i32.load (local.get $record))))
          (if (i32.eq (local.get $kind) (i32.const 1)) (then {before}))
          (local.set $out (i32.load offset=8 (local.get $record)))
          (local.set $i (i32.const 0))
          (loop $bytes
            (i32.store8 (i32.add (local.get $out) (local.get $i)) {value})
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $bytes (i32.lt_u (local.get $i) (i32.const 64))))
          (i32.store offset=16 (local.get $record) (i32.const 64))
          (i32.store offset=20 (local.get $record) (i32.const 0))
          (local.set $record (i32.add (local.get $record) (i32.const 32)))
          (br $records))))
    i32.const 0))"#
        );
        wat::parse_str(text).unwrap()
    }
}

/// The real `ecdsa` module but for this: where a message begins with m, as all of the tests' do, `signature` takes the
/// place of its own. No message of the known-answer test begins so.
pub fn replaying(signature: &[u8; 64]) -> Vec<u8> {
    let real = extension_engine::Module::built_in("ecdsa", extension_engine::Variant::Base).unwrap();
    let text = wasmprinter::print_bytes(real.bytes()).unwrap();
    let (before, rest) = text.split_once("(export \"WasmRun\" (func ").unwrap();
    let (run, after) = rest.split_once("))").unwrap();
    let after = after.trim_end().strip_suffix(')').unwrap();
    let words = signature.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word));
    let stores: String = (0..)
        .zip(words)
        .map(|(i, word)| format!("(i64.store offset={} (local.get $out) (i64.const {word}))\n", i * 8))
        .collect();
    let wrapper = format!(
        r#"(func (export "WasmRun") (param $name i32) (param $kind i32) (param $arg i32) (result i32)
  (local $record i32) (local $end i32) (local $out i32) (local $status i32)
  (local.set $status (call {run} (local.get $name) (local.get $kind) (local.get $arg)))
  (local.set $record (i32.add (local.get $arg) (i32.const 32)))
  (local.set $end (i32.add (local.get $record) (i32.mul (i32.load offset=4 (local.get $arg)) (i32.const 32))))
  (if (i32.eq (local.get $kind) (i32.const 1)) (then
    (loop $records (if (i32.lt_u (local.get $record) (local.get $end)) (then
      (if (i32.load offset=4 (local.get $record)) (then
        (if (i32.eq (i32.load8_u (i32.load (local.get $record))) (i32.const 109)) (then
          (local.set $out (i32.load offset=8 (local.get $record)))
          {stores}))))
      (local.set $record (i32.add (local.get $record) (i32.const 32)))
      (br $records))))))
  (local.get $status))"#
    );
    wat::parse_str(format!("{before}{after}{wrapper})")).unwrap()
}
