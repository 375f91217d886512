//! An extension for tests, in the text format: its signature is 64 times the message's first byte.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

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
