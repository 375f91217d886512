(func $after (param $record i32) (param $block i32) (param $status i32) (result i32) (local.get $status))
