(func $before (param $record i32) (param $block i32))
