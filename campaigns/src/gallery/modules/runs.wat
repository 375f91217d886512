;;; honest | signed |
;; No harm in it: what the others are measured against.

;;; loop-in-run | deadline | took too long in WasmRun/WasmRun on wasm3 is overdue
(func $before (param $record i32) (param $block i32) (loop $forever (br $forever)))

;;; loop-with-work | deadline | took too long in WasmRun/WasmRun on wasm3 is overdue
;; Its loop does what compilers can't leave out.
(func $before (param $record i32) (param $block i32)
  (loop $forever
    (i32.store offset=28 (local.get $record) (i32.add (i32.load offset=28 (local.get $record)) (i32.const 1)))
    (br $forever)))

;;; loop-with-calls | deadline | took too long in WasmRun/WasmRun on wasm3 is overdue
(func $count (param $n i32) (result i32)
  (i32.add (i32.load (i32.const 1024)) (i32.add (local.get $n) (i32.const 1))))
(func $before (param $record i32) (param $block i32)
  (local $n i32)
  (loop $forever (local.set $n (call $count (local.get $n))) (br_if $forever (i32.const 1))))

;;; loop-after-run | deadline | took too long in WasmRun/WasmRun on wasm3 is overdue
;; Everything is signed by then, and nobody hears of it.
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (loop $forever (br $forever)) (unreachable))

;;; loop-of-fills | deadline | took too long in WasmRun/WasmRun on wasm3 is overdue
;; Each instruction of it is a long call into the host.
;;@ wide
(func $before (param $record i32) (param $block i32)
  (drop (memory.grow (i32.const 256)))
  (loop $forever
    (memory.fill
      (i32.mul (i32.sub (memory.size) (i32.const 256)) (i32.const 65536)) (i32.const 90) (i32.const 16777216))
    (br $forever)))

;;; loop-of-empty-fills | deadline | took too long in WasmRun
;;@ wide
(func $before (param $record i32) (param $block i32)
  (loop $forever
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))
    (br $forever)))

;;; loop-of-short-copies | deadline | took too long in WasmRun
;;@ wide
(func $before (param $record i32) (param $block i32)
  (loop $forever
    (memory.copy (local.get $record) (local.get $record) (i32.const 1))
    (br $forever)))

;;; loop-of-table-calls | deadline | took too long in WasmRun/WasmRun on wasm3 is overdue
;;@ drop (table
;;@ drop (elem
(table $#table0 1 1 funcref)
(elem (i32.const 0) $nothing)
(func $nothing)
(func $before (param $record i32) (param $block i32)
  (loop $forever (call_indirect (i32.const 0)) (br $forever)))

;;; exponential-calls | deadline | took too long in WasmRun/WasmRun on wasm3 is overdue
;; No loop and no deep stack: 2 to the 48th calls.
(func $double (param $n i32)
  (if (local.get $n)
    (then
      (call $double (i32.sub (local.get $n) (i32.const 1)))
      (call $double (i32.sub (local.get $n) (i32.const 1))))))
(func $before (param $record i32) (param $block i32) (call $double (i32.const 48)))

;;; unreachable | trap | trapped in WasmRun
(func $before (param $record i32) (param $block i32) (unreachable))

;;; trap-after-run | trap | trapped in WasmRun
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32) (unreachable))

;;; division-by-zero | trap | trapped in WasmRun
(func $before (param $record i32) (param $block i32)
  (drop (i32.div_u (local.get $block) (i32.load offset=28 (local.get $record)))))

;;; division-overflow | trap | trapped in WasmRun
(func $before (param $record i32) (param $block i32)
  (drop (i32.div_s (i32.const 0x80000000) (i32.sub (i32.load offset=28 (local.get $record)) (i32.const 1)))))

;;; conversion-overflow | trap | trapped in WasmRun
(func $before (param $record i32) (param $block i32)
  (drop (i32.trunc_f64_s (f64.mul (f64.convert_i32_u (local.get $block)) (f64.const 1e300)))))

;;; load-outside | trap | trapped in WasmRun
(func $before (param $record i32) (param $block i32)
  (drop (i32.load (i32.sub (i32.load offset=28 (local.get $record)) (i32.const 4)))))

;;; store-outside | trap | trapped in WasmRun
(func $before (param $record i32) (param $block i32)
  (i64.store offset=0xffffffff (i32.const -1) (i64.const -1)))

;;; call-nobody | trap | trapped in WasmRun
;; The table is empty there, or ends before.
(func $before (param $record i32) (param $block i32)
  (call_indirect (param i64 i64 f64) (i64.const 0) (i64.const 0) (f64.const 0) (i32.const 0)))
;;@ drop (table
;;@ drop (elem
(table $#table0 4 4 funcref)

;;; call-another-type | trap | trapped in WasmRun
;;@ drop (table
;;@ drop (elem
(table $#table0 4 4 funcref)
(elem (i32.const 0) $before)
(func $before (param $record i32) (param $block i32)
  (call_indirect (param i64 i64 f64) (i64.const 0) (i64.const 0) (f64.const 0) (i32.const 0)))

;;; deep-recursion | trap | trapped in WasmRun
(func $down (param $n i32) (result i32)
  (i32.add (i32.const 1) (call $down (i32.add (local.get $n) (i32.const 1)))))
(func $before (param $record i32) (param $block i32) (drop (call $down (i32.const 0))))

;;; deep-recursion-in-turns | trap | trapped in WasmRun
;; Large frames, two functions, through the table.
;;@ drop (table
;;@ drop (elem
(table $#table0 2 2 funcref)
(elem (i32.const 0) $ping $pong)
(func $ping (param $a i64) (param $b i64) (param $c f64) (result i64)
  (local $d i64) (local $e i64) (local $f i64) (local $g i64) (local $h i64) (local $i i64)
  (local.set $d (i64.add (local.get $a) (i64.const 1)))
  (local.set $e (i64.mul (local.get $d) (local.get $b)))
  (local.set $f (i64.xor (local.get $e) (local.get $a)))
  (i64.add (i64.add (local.get $d) (local.get $e)) (i64.add (local.get $f)
    (call_indirect (param i64 i64 f64) (result i64)
      (local.get $d) (local.get $e) (local.get $c) (i32.const 1)))))
(func $pong (param $a i64) (param $b i64) (param $c f64) (result i64)
  (i64.add (local.get $b)
    (call_indirect (param i64 i64 f64) (result i64)
      (local.get $b) (local.get $a) (local.get $c) (i32.const 0))))
(func $before (param $record i32) (param $block i32)
  (drop (call $ping (i64.const 1) (i64.const 2) (f64.const 3))))

;;; slow-within-limits | signed |
(func $before (param $record i32) (param $block i32) (drop (call $burn (i64.const @WITHIN@))))

;;; slow-beyond-limits | deadline | took too long in WasmRun/WasmRun on wasm3 is overdue
(func $before (param $record i32) (param $block i32) (drop (call $burn (i64.const @BEYOND@))))
