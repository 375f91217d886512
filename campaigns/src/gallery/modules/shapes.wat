;;; wasi-output | refused | imports wasi_snapshot_preview1.fd_write
(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))

;;; wasi-exit | refused | imports wasi_snapshot_preview1.proc_exit
(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))

;;; wasi-random | refused | imports wasi_snapshot_preview1.random_get
(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))

;;; wasi-clock | refused | imports wasi_snapshot_preview1.clock_time_get
(import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))

;;; wasi-files | refused | imports wasi_snapshot_preview1.path_open
(import "wasi_snapshot_preview1" "path_open"
  (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))

;;; older-wasi | refused | imports wasi_unstable.fd_write
(import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))

;;; another-function-of-env | refused | imports env.HostPutElem
(import "env" "HostPutElem" (func (param i32 i32) (result i32)))

;;; abort-of-env | refused | imports env.abort
(import "env" "abort" (func (param i32 i32 i32 i32)))

;;; host-function-of-another-module | refused | imports host.HostGetElem
(import "host" "HostGetElem" (func (param i32 i32) (result i32)))

;;; import-without-a-name | refused | imports .
(import "" "" (func))

;;; import-with-control-characters | refused | imports env.
(import "env" "\1b[31mHostGetElem\0a" (func (param i32 i32) (result i32)))

;;; host-function-of-another-type | refused | imports env.HostGetElem as
(import "env" "HostGetElem" (func (param i64 i32) (result i32)))

;;; host-function-with-another-result | refused | imports env.HostReadElems as
(import "env" "HostReadElems" (func (param i32 i32) (result i64)))

;;; host-function-as-global | refused | imports env.HostGetElem as no function
(import "env" "HostGetElem" (global i32))

;;; imported-memory | refused | imports env.memory
;;@ drop (memory
(import "env" "memory" (memory $#memory0 3))

;;; imported-table | refused | imports env.table
;;@ drop (table
;;@ drop (elem
(import "env" "table" (table $#table0 1 funcref))

;;; imported-global | refused | imports env.base
(import "env" "base" (global i32))

;;; host-functions-with-hostile-pointers | signed |
;; Both may be called, with anything.
(import "env" "HostGetElem" (func $get (param i32 i32) (result i32)))
(import "env" "HostReadElems" (func $read (param i32 i32) (result i32)))
(func $before (param $record i32) (param $block i32)
  (drop (call $get (i32.const -1) (i32.const 0x80000000)))
  (drop (call $read (i32.const -1) (i32.const -1)))
  (drop (call $get (i32.const 0) (i32.const 0))))

;;; host-functions-for-ever | deadline | took too long in WasmRun/WasmRun on wasm3 is overdue
(import "env" "HostGetElem" (func $get (param i32 i32) (result i32)))
(func $before (param $record i32) (param $block i32)
  (loop $forever (drop (call $get (i32.const -1) (i32.const -1))) (br $forever)))

;;; loop-in-start | refused | has a start function
(func $start (loop $forever (br $forever)))
(start $start)

;;; trap-in-start | refused | has a start function
(func $start (unreachable))
(start $start)

;;; memory-bomb-in-start | refused | has a start function
(func $start (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))))
(start $start)

;;; harmless-start | refused | has a start function
(func $start)
(start $start)

;;; another-version | refused | exports WasmAbiVersion_2_0
;;@ drop (export "WasmAbiVersion_1_0"
(func (export "WasmAbiVersion_2_0"))

;;; no-version | refused | exports no WasmAbiVersion_1_0
;;@ drop (export "WasmAbiVersion_1_0"

;;; both-versions | signed |
;; It speaks ours too, and that is all that is asked of it.
(func (export "WasmAbiVersion_2_0"))

;;; version-as-global | refused | exports no WasmAbiVersion_1_0
;;@ drop (export "WasmAbiVersion_1_0"
(global (export "WasmAbiVersion_1_0") i32 (i32.const 1))

;;; version-with-a-loop | signed |
;; Its presence says it all: nobody calls it.
(func (export "WasmAbiVersion_1_0") (loop $forever (br $forever)))

;;; version-in-another-spelling | refused | exports no WasmAbiVersion_1_0
;;@ drop (export "WasmAbiVersion_1_0"
(func (export "wasmabiversion_1_0"))

;;; version-with-control-characters | refused | exports WasmAbiVersion_
;;@ drop (export "WasmAbiVersion_1_0"
(func (export "WasmAbiVersion_\1b[2J\0a1_0"))

;;; run-of-another-type | refused | exports WasmRun as
(func (export "WasmRun") (param i64) (result i64) (local.get 0))

;;; run-as-global | refused | exports WasmRun as a global
(global (export "WasmRun") i32 (i32.const 1))

;;; no-run | refused | doesn't export WasmRun
;;@ drop (export "WasmRun"

;;; no-reset | refused | doesn't export WasmReset
;;@ drop (export "WasmReset"

;;; no-memory | refused | doesn't export memory
;;@ drop (export "memory"

;;; memory-as-function | refused | exports memory as
;;@ drop (export "memory"
(func (export "memory"))

;;; threads | refused | is not valid
(func (result i32) (i32.atomic.load (i32.const 0)))

;;; tail-calls | refused | is not valid
(func $tail (return_call $tail))

;;; exceptions | refused | is not valid
(tag $thrown)
(func (throw $thrown))

;;; garbage-collection | refused | is not valid
(type $node (struct (field i32)))
(func (drop (struct.new $node (i32.const 1))))

;;; relaxed-simd | refused | is not valid
(func (param v128 v128 v128) (result v128)
  (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2)))

;;; custom-section-above-the-limit | refused | is longer than
;;@ pad 5242880

;;; custom-section-of-64-mib | refused | is longer than
;;@ pad 67108864
