;;; loop-in-reset | signed | took too long in WasmReset/WasmReset on wasm3 is overdue
;; After a guilty record, when everything has been answered.
(global $armed (mut i32) (i32.const 0))
(func $before (param $record i32) (param $block i32) (global.set $armed (i32.const 1)))
(func (export "WasmReset")
  (if (global.get $armed) (then (loop $forever (br $forever))))
  (call $real.WasmReset))

;;; trap-in-reset | signed | trapped in WasmReset
(global $armed (mut i32) (i32.const 0))
(func $before (param $record i32) (param $block i32) (global.set $armed (i32.const 1)))
(func (export "WasmReset")
  (if (global.get $armed) (then (unreachable)))
  (call $real.WasmReset))

;;; reset-that-does-nothing | signed |
(func (export "WasmReset"))

;;; reset-that-shreds | spoils |
;; Overwrites its own constants and tables: the module hurts itself.
(global $armed (mut i32) (i32.const 0))
(func $before (param $record i32) (param $block i32) (global.set $armed (i32.const 1)))
(func (export "WasmReset")
  (local $at i32)
  (call $real.WasmReset)
  (if (global.get $armed)
    (then
      (local.set $at (i32.const 131072))
      (loop $next
        (i32.store (local.get $at) (i32.const 0xdeadbeef))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 135168)))))))

;;; loop-in-finish-when-armed | signed |
(global $armed (mut i32) (i32.const 0))
(func $before (param $record i32) (param $block i32) (global.set $armed (i32.const 1)))
(func (export "WasmFinit")
  (if (global.get $armed) (then (loop $forever (br $forever))))
  (call $real.WasmFinit))

;;; trap-in-finish | signed |
(func (export "WasmFinit") (unreachable))

;;; loop-in-large-malloc | deadline | took too long in WasmMalloc/WasmMalloc on wasm3 is overdue
;;@ large
(func (export "WasmMalloc") (param $len i32) (result i32)
  (if (i32.gt_u (local.get $len) (i32.const 65536)) (then (loop $forever (br $forever))))
  (call $real.WasmMalloc (local.get $len)))

;;; trap-in-large-malloc | trap | trapped in WasmMalloc
;;@ large
(func (export "WasmMalloc") (param $len i32) (result i32)
  (if (i32.gt_u (local.get $len) (i32.const 65536)) (then (unreachable)))
  (call $real.WasmMalloc (local.get $len)))

;;; large-malloc-0 | memory | ran out of memory in WasmMalloc
;;@ large
(func (export "WasmMalloc") (param $len i32) (result i32)
  (if (i32.gt_u (local.get $len) (i32.const 65536)) (then (return (i32.const 0))))
  (call $real.WasmMalloc (local.get $len)))

;;; large-malloc-minus-1 | trap | WasmMalloc answered 0xffffffff
;;@ large
(func (export "WasmMalloc") (param $len i32) (result i32)
  (if (i32.gt_u (local.get $len) (i32.const 65536)) (then (return (i32.const -1))))
  (call $real.WasmMalloc (local.get $len)))

;;; large-malloc-2-to-the-31st | trap | WasmMalloc answered 0x80000000
;;@ large
(func (export "WasmMalloc") (param $len i32) (result i32)
  (if (i32.gt_u (local.get $len) (i32.const 65536)) (then (return (i32.const 0x80000000))))
  (call $real.WasmMalloc (local.get $len)))

;;; large-malloc-unaligned | trap | it is not a multiple of 4
;;@ large
(func (export "WasmMalloc") (param $len i32) (result i32)
  (if (i32.gt_u (local.get $len) (i32.const 65536))
    (then (return (i32.add (i32.const 2) (call $real.WasmMalloc (local.get $len))))))
  (call $real.WasmMalloc (local.get $len)))

;;; large-malloc-one-short | trap | that is not in the module's memory
;; The last word of the buffer lies beyond the memory's end.
;;@ large
(func (export "WasmMalloc") (param $len i32) (result i32)
  (if (i32.gt_u (local.get $len) (i32.const 65536))
    (then
      (return
        (i32.and (i32.const -4)
          (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.sub (local.get $len) (i32.const 4)))))))
  (call $real.WasmMalloc (local.get $len)))

;;; large-malloc-over-its-own-data | spoils |
;; The host writes the guilty batch over the module's stack, constants and tables.
;;@ large
(func (export "WasmMalloc") (param $len i32) (result i32)
  (if (i32.gt_u (local.get $len) (i32.const 65536))
    (then (drop (memory.grow (i32.const 16))) (return (i32.const 1024))))
  (call $real.WasmMalloc (local.get $len)))

;;; large-malloc-over-the-earlier-buffer | spoils |
;;@ large
(global $first (mut i32) (i32.const 0))
(func (export "WasmMalloc") (param $len i32) (result i32)
  (if (i32.gt_u (local.get $len) (i32.const 65536))
    (then (drop (memory.grow (i32.const 16))) (return (i32.add (global.get $first) (i32.const 16)))))
  (global.set $first (call $real.WasmMalloc (local.get $len)))
  (global.get $first))

;;; loop-in-init | refused | took too long in WasmInit/WasmInit on wasm3 is overdue/takes more than
(func (export "WasmInit") (loop $forever (br $forever)))

;;; trap-in-init | refused | trapped in WasmInit
(func (export "WasmInit") (unreachable))

;;; recursion-in-init | refused | trapped in WasmInit
(func $init (export "WasmInit") (call $init) (call $init))

;;; memory-bomb-in-init | refused | ran out of memory in WasmInit
(func (export "WasmInit")
  (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (unreachable))

;;; loop-in-malloc | refused | took too long in WasmMalloc/WasmMalloc on wasm3 is overdue/takes more than
(func (export "WasmMalloc") (param $len i32) (result i32) (loop $forever (br $forever)) (unreachable))

;;; malloc-0 | refused | ran out of memory in WasmMalloc
(func (export "WasmMalloc") (param $len i32) (result i32) (i32.const 0))

;;; malloc-minus-1 | refused | WasmMalloc answered 0xffffffff
(func (export "WasmMalloc") (param $len i32) (result i32) (i32.const -1))

;;; malloc-2-to-the-31st | refused | WasmMalloc answered 0x80000000
(func (export "WasmMalloc") (param $len i32) (result i32) (i32.const 0x80000000))

;;; malloc-unaligned | refused | it is not a multiple of 4
(func (export "WasmMalloc") (param $len i32) (result i32)
  (i32.add (i32.const 1) (call $real.WasmMalloc (local.get $len))))

;;; malloc-at-the-end | refused | that is not in the module's memory
(func (export "WasmMalloc") (param $len i32) (result i32) (i32.mul (memory.size) (i32.const 65536)))

;;; loop-in-first-reset | refused | took too long in WasmReset/WasmReset on wasm3 is overdue/takes more than
(func (export "WasmReset") (loop $forever (br $forever)))

;;; trap-in-first-reset | refused | trapped in WasmReset
(func (export "WasmReset") (unreachable))

;;; loop-on-key | refused | took too long in WasmRun/WasmRun on wasm3 is overdue/takes more than
(func (export "WasmRun") (param $name i32) (param $kind i32) (param $block i32) (result i32)
  (if (i32.eqz (local.get $kind)) (then (loop $forever (br $forever))))
  (call $real.WasmRun (local.get $name) (local.get $kind) (local.get $block)))

;;; loop-on-sign | refused | took too long in WasmRun/WasmRun on wasm3 is overdue/takes more than
(func (export "WasmRun") (param $name i32) (param $kind i32) (param $block i32) (result i32)
  (if (i32.eq (local.get $kind) (i32.const 1)) (then (loop $forever (br $forever))))
  (call $real.WasmRun (local.get $name) (local.get $kind) (local.get $block)))

;;; signs-with-another-key | refused | known-answer test
(func (export "WasmRun") (param $name i32) (param $kind i32) (param $block i32) (result i32)
  (if (i32.eqz (local.get $kind))
    (then (i32.store8 (i32.load offset=32 (local.get $block)) (i32.const 7))))
  (call $real.WasmRun (local.get $name) (local.get $kind) (local.get $block)))

;;; signs-nothing | refused | didn't run this record
(func (export "WasmRun") (param $name i32) (param $kind i32) (param $block i32) (result i32) (i32.const 0))

;;; refuses-keys | refused | key was refused
(func (export "WasmRun") (param $name i32) (param $kind i32) (param $block i32) (result i32)
  (if (i32.eqz (local.get $kind))
    (then (i32.store offset=52 (local.get $block) (i32.const 5)) (return (i32.const 0))))
  (call $real.WasmRun (local.get $name) (local.get $kind) (local.get $block)))

;;; wrong-in-long-batches | refused | known-answer test
;; One record alone is signed as it should be.
(func (export "WasmRun") (param $name i32) (param $kind i32) (param $block i32) (result i32)
  (local $status i32)
  (local.set $status (call $real.WasmRun (local.get $name) (local.get $kind) (local.get $block)))
  (if (i32.gt_u (i32.load offset=4 (local.get $block)) (i32.const 1))
    (then
      (i64.store (i32.load offset=40 (local.get $block)) (i64.const 0))))
  (local.get $status))
