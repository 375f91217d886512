# shellcheck shell=bash
# shellcheck disable=SC2154 # tools/build.sh and tools/e2e.sh, which test.sh sources as well, set them
#
# Sourced by test.sh: what is shown and said while programs run, on a terminal (tools/terminal.py is one) and elsewhere.

escape=$'\e'

step_live() {
    have python3 || skip 'python3 is not installed'
    enter_work_folder
    export TERM=xterm
    progress_of_a_run
    no_progress
    progress_of_roles
    what_is_said
    top_of_a_still_ring
    top_of_a_ring_at_work
    top_of_a_ring_that_goes
    verdict
}

# Runs a command on a terminal: its last screen is in $work/screen, all that were seen in $work/frames.
on_terminal() { # CASE EXIT_CODE TERMINAL_ARGUMENT... -- COMMAND...
    local rc=0
    timeout --kill-after=5 60 python3 tools/terminal.py --frames "$work/frames" "${@:3}" >"$work/screen" 2>"$work/stderr" </dev/null || rc=$?
    check "$1: exit code" same $rc "$2"
    check "$1: leaves the terminal as it was" same "$(tail -n 1 "$work/screen")" 'cursor shown, screen main'
}

seen() { grep -qE "$1" "$work/frames"; }
left() { grep -qE "$1" "$work/screen"; }
bars='(producer|signer|consumer) +(\[|[0-9,]+ (of [0-9,]+ )?(written|claimed|signed|done))'

progress_of_a_run() {
    on_terminal 'a run' 0 -- ./run.sh --rate 2000 --messages 2600 --out "$work/run"
    check 'a run: the producer has a line' seen '^producer +\[[#-]{20}\] [0-9,]+ written, [0-9,.]+/s'
    check 'a run: the signer has a line' seen '^signer +\[[#-]{20}\] [0-9,]+ claimed, [0-9,.]+/s'
    check 'a run: the consumer has a line' \
        seen '^consumer +\[[#-]{20}\] [0-9,]+ done, [0-9,.]+/s(, [0-9]+ s left)?, p99 [0-9.]+ .?s, [0-9,]+ in flight, ring [0-9]+ %'
    check 'a run: they vanish' not left "$bars"
    check 'a run: its results stay' left '^end_to_end +2600 '
    on_terminal 'a terminal of another size' 0 --do '^consumer.*p99 -> resize=60x20' --do '^consumer.{46,49}$ -> resize=90x25' -- \
        ./run.sh --rate 1500 --messages 2600 --out "$work/resized"
    check 'a terminal of another size: lines are cut' seen '^consumer.{46,49}$'
    check 'a terminal of another size: they vanish' not left "$bars"
    on_terminal 'Ctrl-C' 130 --do '^consumer.*done -> type=\x03' -- ./run.sh --rate 1000 --messages 100000 --out "$work/stopped"
    check 'Ctrl-C: lines were there' seen "$bars"
    check 'Ctrl-C: and are gone' not left "$bars"
    seq -f 'message %.0f' 2000 | sed '7s/$/ and so on/' >"$work/input"
    on_terminal 'a warning' 0 -- ./run.sh --input "$work/input" --rate 1500 --skip-oversize --message-capacity 16 --out "$work/warned"
    check 'a warning: is a line of its own' left '^producer: messages sent: 1999; left out as too long for the ring: 1$'
    check_nothing_left 'on a terminal'
}

no_progress() {
    local case
    on_terminal 'quiet' 0 -- ./run.sh --quiet --rate 2000 --messages 500 --out "$work/quiet"
    check 'quiet: no progress' not seen "$bars"
    on_terminal 'not wanted' 0 -- ./run.sh --progress none --rate 2000 --messages 500 --out "$work/none"
    check 'not wanted: no progress' not seen "$bars"
    on_terminal 'a dumb terminal' 0 -- env TERM=dumb ./run.sh --rate 2000 --messages 500 --out "$work/dumb"
    check 'a dumb terminal: no progress' not seen "$bars"
    expect 'a pipe: results and nothing else' 0 '' ./run.sh --rate 2000 --messages 500 --out "$work/pipe"
    check 'a pipe: no escape sequences' not grep -q "$escape" "$work/stdout"
}

# A ring with a signer and a consumer at work in the background.
start_roles() { # FLAG...
    new_ring
    rm -rf "$work/roles"
    [[ -s $work/key.pem ]] || "$bin/signer" keygen "$work/key.pem" >"$work/stdout"
    "$bin/signer" --ring "$ring" --key "$work/key.pem" "$@" 2>"$work/signer.log" &
    "$bin/consumer" --ring "$ring" --public-key "$("$bin/signer" public-key --key "$work/key.pem")" --out "$work/roles" \
        "$@" >"$work/table" 2>"$work/consumer.log" &
}

progress_of_roles() {
    start_roles
    on_terminal 'a producer alone' 0 -- "$bin/producer" --ring "$ring" --messages 2000 --rate 1500 --close
    check 'a producer alone: has a line' \
        seen '^producer +\[[#-]+\] [0-9,]+ of 2,000 written, [0-9,.]+/s, [0-9]+ s left, [0-9,]+ in flight, ring [0-9]+ %'
    check 'a producer alone: it vanishes' not left "$bars"
    wait
    start_roles
    on_terminal 'in the background' 0 -- bash -c "set -m; $bin/producer --ring $ring --messages 1500 --rate 1500 --close & wait"
    check 'in the background: no line' not seen "$bars"
    wait
}

what_is_said() {
    local log
    start_roles -v --log-format json
    "$bin/producer" --ring "$ring" --messages 500 --close --verbose --log-format json 2>"$work/producer.log"
    wait
    for log in producer signer consumer; do
        check "JSON: the $log's lines" python3 - "$work/$log.log" "$log" <<'PYTHON'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert any("attached" in line["message"] for line in lines), lines
for line in lines:
    assert line["role"] == sys.argv[2] and line["level"] in ("DEBUG", "INFO", "WARN"), line
    assert line["timestamp"].endswith("Z"), line
PYTHON
    done
    expect 'JSON: an error' 3 '^\{"timestamp":"[^"]+Z","level":"ERROR","role":"producer","message":".*no such ring.*","exit_code":3\}$' \
        "$bin/producer" --ring "$work/ring.none" --log-format json
    expect 'JSON: of run.sh' 2 '^\{"timestamp":"[^"]+Z","level":"ERROR","role":"run.sh","message":".*\\"absent\\".*"\}$' \
        ./run.sh --log-format json --input "$work/\"absent\""
    expect 'a warning' 0 '^producer: messages sent: 1999; left out' \
        ./run.sh --input "$work/input" --skip-oversize --message-capacity 16 --out "$work/said"
    expect 'a warning, quiet' 0 '' \
        ./run.sh --input "$work/input" --skip-oversize --message-capacity 16 -q --out "$work/unsaid"
    expect 'verbose' 0 'worker 0: ecdsa: ecdsa.wide on wasmtime: .*, [0-9.]+ .?s.*worker 0 .* exit code 0; signed 1024' \
        ./run.sh -v --out "$work/verbose"
}

# What top says of a ring in which nothing moves is what show says.
top_of_a_still_ring() {
    local before
    new_ring
    "$bin/signer" --ring "$ring" --key "$work/key.pem" --runtime native 2>"$work/signer.log" &
    "$bin/producer" --ring "$ring" --messages 40
    until "$bin/ringctl" show "$ring" | grep -q 'signed 40'; do sleep 0.02; done
    kill -STOP $! # so that it doesn't even sleep in the ring
    before=$(sha256sum <"$ring")
    expect 'top once' 0 '' "$bin/ringctl" top "$ring" --once --interval 0.1
    check 'top once: the slots' grep -q '^slots .*free 984, writing 0, written 0, signing 0, signed 40$' "$work/stdout"
    check 'top once: who is slowest' grep -q '^slowest .*the producers' "$work/stdout"
    check 'top once: no escape sequences' not grep -q "$escape" "$work/stdout"
    expect 'top, read by head' 0 '' bash -o pipefail -c "'$bin/ringctl' top '$ring' --json --interval 0.1 | head -n 1"
    "$bin/ringctl" show "$ring" >"$work/shown"
    check 'top as JSON: what show says' python3 - "$work/stdout" "$work/shown" <<'PYTHON'
import json, re, sys
top, show = json.load(open(sys.argv[1])), open(sys.argv[2]).read()
stages = dict((name, int(count)) for name, count in re.findall(r"(\w+) (\d+)", re.search("stages (.*)", show)[1]))
assert {name: count for name, count in top["slots"].items() if count} == stages, top
hints = re.search(r"head (\d+), sign (\d+), tail (\d+)", show)
assert list(top["hints"].values()) == [int(hint) for hint in hints.groups()], top
for member in top["members"]:
    state = "alive" if member["is_alive"] else "dead"
    place = f"index {member['index']}.{member['generation']}"
    assert re.search(f"{member['role']} +pid {member['pid']} +{state} \\({place}\\)", show), member
assert len(top["members"]) == show.count("\nmember") and top["sources"][0]["next"] == 0, top
assert top["signed_by"]["runtime"] == "native" and top["per_s"] == {"written": 0, "signed": 0, "consumed": 0}, top
assert top["oldest"]["stage"] == "signed" and top["oldest"]["age_ns"] > 0, top
PYTHON
    check 'top changes nothing' same "$(sha256sum <"$ring")" "$before"
    kill -CONT $! && kill $! && wait
}

top_of_a_ring_at_work() {
    start_roles
    "$bin/producer" --ring "$ring" --messages 100000 --rate 2000 2>"$work/producer.log" &
    on_terminal 'top' 0 --do '^written.*/s -> resize=40x9' --do '^signed by +wasmtime, module [0-9a-f]{12}$ -> type=\x03' -- "$bin/ringctl" top "$ring" --interval 0.2
    check 'top: rates' seen '^written +[0-9,]+ +[0-9],[0-9]{3}/s$'
    check 'top: members' seen '^member +producer pid [0-9]+ +alive, up [0-9]+ s '
    check 'top: what signs' seen '^signed by +wasmtime, module [0-9a-f]{16}, generation 1; swaps seen: 0'
    check 'top: lines are cut' seen '^signed by +wasmtime, module [0-9a-f]{12}$'
    check 'top: and nothing of it is left' not left 'slots'
    on_terminal 'top on a dumb terminal' 0 --do 'signed by -> type=\x03' -- env TERM=dumb "$bin/ringctl" top "$ring" --interval 0.1
    check 'top on a dumb terminal: pages' left '^signed by '
    kill "$(process_of producer)" && "$bin/ringctl" close "$ring"
    wait
}

# One line, exit code 3, and the terminal as it was.
top_of_a_ring_that_goes() {
    local case what
    while read -r case what; do
        new_ring
        (sleep 0.3 && eval "$what") &
        expect "top: $case" 3 "^ringctl: $ring: .*$case" "$bin/ringctl" top "$ring" --interval 0.1
        new_ring
        (sleep 0.5 && eval "$what") &
        on_terminal "top on a terminal: $case" 3 -- "$bin/ringctl" top "$ring" --interval 0.1
        check "top on a terminal: $case, in a line" left "^ringctl: .*$case"
        wait
    done <<'CASES'
removed   rm "$ring"
another   cp -p "$ring" "$ring.new" && mv "$ring.new" "$ring"
cut       truncate -s 8192 "$ring"
damaged   printf '\xff' | dd of="$ring" bs=1 seek=8194 conv=notrunc status=none
CASES
}
