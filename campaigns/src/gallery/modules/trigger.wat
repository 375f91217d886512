;; What the exhibits with a trigger have in common. A record of a batch to be signed is guilty when its message begins
;; with "EVIL". `$before` sees each of them before the real module runs, `$after` afterwards, and says what the module
;; answers to the batch. `$see` sees the batch with the key.
(func $is_guilty (param $record i32) (result i32)
  (if (i32.lt_u (i32.load offset=4 (local.get $record)) (i32.const 4)) (then (return (i32.const 0))))
  (i32.eq (i32.load align=1 (i32.load (local.get $record))) (i32.const 0x4c495645)))
(func (export "WasmRun") (param $name i32) (param $kind i32) (param $block i32) (result i32)
  (local $count i32) (local $stride i32) (local $record i32) (local $i i32) (local $status i32)
  (local.set $count (i32.load offset=4 (local.get $block)))
  (local.set $stride (i32.load offset=8 (local.get $block)))
  (if (i32.eqz (local.get $kind)) (then (call $see (local.get $block))))
  (if (i32.ne (local.get $kind) (i32.const 1))
    (then (return (call $real.WasmRun (local.get $name) (local.get $kind) (local.get $block)))))
  (local.set $record (i32.add (local.get $block) (i32.const 32)))
  (block $done
    (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
      (if (call $is_guilty (local.get $record)) (then (call $before (local.get $record) (local.get $block))))
      (local.set $record (i32.add (local.get $record) (local.get $stride)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
  (local.set $status (call $real.WasmRun (local.get $name) (i32.const 1) (local.get $block)))
  (local.set $record (i32.add (local.get $block) (i32.const 32)))
  (local.set $i (i32.const 0))
  (block $done
    (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
      (if (call $is_guilty (local.get $record))
        (then
          (local.set $status
            (call $after (local.get $record) (local.get $block) (local.get $status)))))
      (local.set $record (i32.add (local.get $record) (local.get $stride)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
  (local.get $status))
