;; Copies 64 bytes.
(func $copy (param $to i32) (param $from i32)
  (local $end i32)
  (local.set $end (i32.add (local.get $from) (i32.const 64)))
  (loop $next
    (i32.store8 (local.get $to) (i32.load8_u (local.get $from)))
    (local.set $to (i32.add (local.get $to) (i32.const 1)))
    (local.set $from (i32.add (local.get $from) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $from) (local.get $end)))))
;; Exchanges 64 bytes.
(func $swap (param $a i32) (param $b i32)
  (local $end i32) (local $byte i32)
  (local.set $end (i32.add (local.get $a) (i32.const 64)))
  (loop $next
    (local.set $byte (i32.load8_u (local.get $a)))
    (i32.store8 (local.get $a) (i32.load8_u (local.get $b)))
    (i32.store8 (local.get $b) (local.get $byte))
    (local.set $a (i32.add (local.get $a) (i32.const 1)))
    (local.set $b (i32.add (local.get $b) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $a) (local.get $end)))))
;; Counts down, with some work at each step.
(func $burn (param $n i64) (result i64)
  (local $x i64)
  (loop $next
    (local.set $x
      (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
    (local.set $n (i64.sub (local.get $n) (i64.const 1)))
    (br_if $next (i64.ne (local.get $n) (i64.const 0))))
  (local.get $x))
