;;; length-0 | wrong |
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=16 (local.get $record) (i32.const 0)) (local.get $status))

;;; length-one-less | wrong |
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=16 (local.get $record) (i32.const 63)) (local.get $status))

;;; length-one-more-than-there-is-room | bad-answer | where there is room for
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=16 (local.get $record) (i32.add (i32.const 1) (i32.load offset=12 (local.get $record))))
  (local.get $status))

;;; length-minus-1 | bad-answer | where there is room for
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=16 (local.get $record) (i32.const -1)) (local.get $status))

;;; length-2-to-the-31st | bad-answer | where there is room for
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=16 (local.get $record) (i32.const 0x80000000)) (local.get $status))

;;; status-unknown | bad-answer | which is no status
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=20 (local.get $record) (i32.const 10)) (local.get $status))

;;; status-2-to-the-31st | bad-answer | which is no status
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=20 (local.get $record) (i32.const 0x80000000)) (local.get $status))

;;; status-of-the-hosts | bad-answer | which is no status
;; The host's own word for a missed deadline.
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=20 (local.get $record) (i32.const -5)) (local.get $status))

;;; status-not-run | trap |
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=20 (local.get $record) (i32.const -1)) (local.get $status))

;;; status-with-output | says SigningFailed |
;; Says that there is no signature, and leaves it there.
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store offset=20 (local.get $record) (i32.const 9)) (local.get $status))

;;; batch-refused | trap | refused the batch
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32) (i32.const 8))

;;; batch-status-unknown | trap | answered 77 to the batch
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32) (i32.const 77))

;;; batch-status-minus-1 | trap | answered -1 to the batch
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32) (i32.const -1))

;;; batch-status-2-to-the-31st | trap | answered -2147483648 to the batch
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32) (i32.const 0x80000000))

;;; pointers-rewritten-afterwards | signed |
;; All that the host wrote, in the header and in the record. It believes its own copy.
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store (local.get $block) (i32.const -1))
  (i32.store offset=12 (local.get $block) (i32.const -1))
  (i32.store offset=16 (local.get $block) (i32.const -1))
  (i32.store offset=20 (local.get $block) (i32.const -1))
  (i32.store offset=24 (local.get $block) (i32.const -1))
  (i32.store offset=28 (local.get $block) (i32.const -1))
  (i32.store offset=4 (local.get $record) (i32.const -1))
  (i32.store offset=8 (local.get $record) (i32.const -1))
  (i32.store offset=12 (local.get $record) (i32.const -1))
  (i32.store offset=24 (local.get $record) (i32.const -1))
  (i32.store offset=28 (local.get $record) (i32.const -1))
  (local.get $status))

;;; count-rewritten | trap | refused the batch
(func $before (param $record i32) (param $block i32)
  (i32.store offset=4 (local.get $block) (i32.const -1)))

;;; stride-rewritten | trap | refused the batch
(func $before (param $record i32) (param $block i32)
  (i32.store offset=8 (local.get $block) (i32.const 0x7ffffffc)))

;;; output-pointer-minus-1 | says BadArgument |
(func $before (param $record i32) (param $block i32)
  (i32.store offset=8 (local.get $record) (i32.const -1)))

;;; output-pointer-2-to-the-31st | says BadArgument |
(func $before (param $record i32) (param $block i32)
  (i32.store offset=8 (local.get $record) (i32.const 0x80000000)))

;;; output-over-the-message | says BadArgument |
(func $before (param $record i32) (param $block i32)
  (i32.store offset=8 (local.get $record) (i32.load (local.get $record))))

;;; output-over-the-block | says BadArgument |
(func $before (param $record i32) (param $block i32)
  (i32.store offset=8 (local.get $record) (local.get $block)))

;;; output-one-further | wrong |
;; Its neighbour's first byte is written after it, or nothing is.
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (i32.store8 (i32.load offset=8 (local.get $record))
    (i32.xor (i32.load8_u (i32.load offset=8 (local.get $record))) (i32.const 1)))
  (local.get $status))

;;; another-message | wrong |
;; Signs, validly, what nobody asked for.
(func $before (param $record i32) (param $block i32)
  (i32.store align=1 (i32.load (local.get $record)) (i32.const 0x444f4f47)))

;;; shorter-message | wrong |
(func $before (param $record i32) (param $block i32)
  (i32.store offset=4 (local.get $record) (i32.sub (i32.load offset=4 (local.get $record)) (i32.const 1))))

;;; high-s | wrong |
;; The other valid one of two: n minus s.
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (local $s i32) (local $i i32) (local $borrow i32) (local $difference i32)
  (local.set $s (i32.add (i32.load offset=8 (local.get $record)) (i32.const 32)))
  (local.set $i (i32.const 32))
  (loop $next
    (local.set $i (i32.sub (local.get $i) (i32.const 1)))
    (local.set $difference
      (i32.sub
        (i32.sub (call $order (local.get $i)) (i32.load8_u (i32.add (local.get $s) (local.get $i))))
        (local.get $borrow)))
    (local.set $borrow (i32.lt_s (local.get $difference) (i32.const 0)))
    (i32.store8 (i32.add (local.get $s) (local.get $i)) (local.get $difference))
    (br_if $next (local.get $i)))
  (local.get $status))
;; Byte i of the group's order, from the most significant one.
(func $order (param $i i32) (result i32)
  (local $word i64)
  (local.set $word (i64.const 0xffffffffffffffff))
  (if (i32.eq (i32.shr_u (local.get $i) (i32.const 3)) (i32.const 1))
    (then (local.set $word (i64.const 0xfffffffffffffffe))))
  (if (i32.eq (i32.shr_u (local.get $i) (i32.const 3)) (i32.const 2))
    (then (local.set $word (i64.const 0xbaaedce6af48a03b))))
  (if (i32.eq (i32.shr_u (local.get $i) (i32.const 3)) (i32.const 3))
    (then (local.set $word (i64.const 0xbfd25e8cd0364141))))
  (i32.wrap_i64
    (i64.and (i64.const 255)
      (i64.shr_u (local.get $word)
        (i64.extend_i32_u
          (i32.mul (i32.const 8) (i32.sub (i32.const 7) (i32.and (local.get $i) (i32.const 7)))))))))

;;; steals-a-signature | wrong |
;; The one that follows in the block or, where there is none, what was kept of the batches before.
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (call $copy
    (i32.load offset=8 (local.get $record))
    (i32.add (i32.load offset=8 (local.get $record)) (i32.load offset=12 (local.get $record))))
  (local.get $status))

;;; swaps-two-signatures | spoils |
;; That of the guilty record and another one of its batch: the first, or the second if it is the first itself.
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (local $other i32)
  (if (i32.gt_u (i32.load offset=4 (local.get $block)) (i32.const 1))
    (then
      (local.set $other (i32.load offset=40 (local.get $block)))
      (if (i32.eq (local.get $other) (i32.load offset=8 (local.get $record)))
        (then (local.set $other (i32.load offset=72 (local.get $block)))))
      (call $swap (i32.load offset=8 (local.get $record)) (local.get $other))))
  (local.get $status))

;;; replays-an-old-signature | wrong |
;; Keeps the first signature that it makes on a page of its own, beyond every reset.
(global $page (mut i32) (i32.const 0))
(func (export "WasmInit")
  (call $real.WasmInit)
  (global.set $page (i32.mul (memory.grow (i32.const 1)) (i32.const 65536))))
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (if (i32.eqz (i32.load (global.get $page)))
    (then (call $copy (global.get $page) (i32.load offset=8 (local.get $record))))
    (else (call $copy (i32.load offset=8 (local.get $record)) (global.get $page))))
  (i32.store8 (i32.load offset=8 (local.get $record))
    (i32.add (i32.load8_u (i32.load offset=8 (local.get $record))) (i32.const 1)))
  (local.get $status))

;;; hoards-messages-and-key | signed |
;; What a module learns it can keep; nobody else gets to see it.
(global $hoard (mut i32) (i32.const 0))
(global $used (mut i32) (i32.const 0))
(func (export "WasmInit")
  (call $real.WasmInit)
  (global.set $hoard (i32.mul (memory.grow (i32.const 1)) (i32.const 65536))))
(func $before (param $record i32) (param $block i32)
  (call $copy (i32.add (global.get $hoard) (i32.and (global.get $used) (i32.const 0x7fff))) (i32.load (local.get $record)))
  (global.set $used (i32.add (global.get $used) (i32.const 64))))

;;; gives-the-key-away | wrong |
;; Answers, in the place of a signature, the key that it was given.
(global $safe (mut i32) (i32.const 0))
(func (export "WasmInit")
  (call $real.WasmInit)
  (global.set $safe (i32.mul (memory.grow (i32.const 1)) (i32.const 65536))))
(func $see (param $block i32)
  (call $copy (global.get $safe) (i32.load offset=32 (local.get $block))))
(func $after (param $record i32) (param $block i32) (param $status i32) (result i32)
  (call $copy (i32.load offset=8 (local.get $record)) (global.get $safe)) (local.get $status))
