(func $see (param $block i32))
