;;; memory-to-the-limit | signed |
;; Takes all that there is, and touches each page: it may.
(func $before (param $record i32) (param $block i32)
  (local $end i32) (local $at i32)
  (drop (memory.grow (i32.const 950)))
  (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (local.set $at (i32.mul (i32.const 65536) (i32.const 24)))
  (local.set $end (i32.mul (memory.size) (i32.const 65536)))
  (block $done
    (loop $touch
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (i32.store (local.get $at) (i32.const 0x5a5a5a5a))
      (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br $touch))))

;;; memory-bomb | memory | ran out of memory in WasmRun
(func $before (param $record i32) (param $block i32)
  (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (unreachable))

;;; memory-bomb-at-once | memory/trap | ran out of memory in WasmRun/trapped in WasmRun
;; wasm3 doesn't tell its host.
(func $before (param $record i32) (param $block i32)
  (if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then (unreachable))))

;;; memory-bomb-with-status | memory | ran out of memory in WasmRun
;; Says to the batch that its argument is bad, as a module does that finds no memory for it.
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (i32.const 8))

;;; memory-bomb-beyond-4-gib | memory/trap | ran out of memory in WasmRun/trapped in WasmRun
;; More than there are addresses: not every runtime asks the host.
(func $before (param $record i32) (param $block i32)
  (if (i32.eq (memory.grow (i32.const 65535)) (i32.const -1)) (then (unreachable))))

;;; memory-asked-for-ever | deadline/memory | ran out of memory in WasmRun/took too long in WasmRun/WasmRun on wasm3 is overdue
(func $before (param $record i32) (param $block i32)
  (loop $more (drop (memory.grow (i32.const 1))) (br $more)))

;;; nothing-asked-for-ever | deadline/memory | ran out of memory in WasmRun/took too long in WasmRun/WasmRun on wasm3 is overdue
(func $before (param $record i32) (param $block i32)
  (loop $more (drop (memory.grow (i32.const 0))) (br $more)))

;;; memory-of-65536-pages | refused | asks for 65536 pages of memory
;;@ drop (memory
(memory $#memory0 65536)

;;; memory-above-the-limit | refused | asks for 1025 pages of memory
;;@ drop (memory
(memory $#memory0 1025)

;;; table-bomb | refused | asks for a table/is not valid
;;@ drop (table
;;@ drop (elem
(table $#table0 4294967295 funcref)

;;; table-above-the-limit | refused | asks for a table
;;@ drop (table
;;@ drop (elem
(table $#table0 10000000 funcref)

;;; table-that-grows | refused | is not valid
;;@ drop (table
;;@ drop (elem
(table $#table0 1 funcref)
(func $before (param $record i32) (param $block i32)
  (loop $more (drop (table.grow (ref.null func) (i32.const 1000))) (br $more)))

;;; data-outside | refused | data segment/can't instantiate
(data (i32.const 0x7fffffff) "x")

;;; data-before-the-memory | refused | data segment/can't instantiate
(data (i32.const -1) "xx")

;;; elements-outside | refused | element segment/can't instantiate
;;@ drop (table
;;@ drop (elem
(table $#table0 1 1 funcref)
(elem (i32.const 2147483647) $before)

;;; shared-memory | refused | is not valid
;;@ drop (memory
(memory $#memory0 24 1024 shared)

;;; memory-of-64-bits | refused | is not valid
(memory $second i64 1)

;;; two-memories | refused | is not valid
(memory $second 1)
