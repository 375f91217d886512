# shellcheck shell=bash
# shellcheck disable=SC2154 # tools/build.sh, which test.sh sources as well, sets them
#
# Sourced by test.sh: its steps over the real processes. Each works in a folder of its own, with a development key
# and a place for rings of its own, so that whatever is left behind is seen.

failures=0

enter_work_folder() {
    build_programs --quiet || exit
    work=$(mktemp -d)
    trap leave_work_folder EXIT
    trap 'exit 143' TERM
    export XDG_STATE_HOME=$work/state XDG_RUNTIME_DIR=$work/rings XDG_CACHE_HOME=$work/cache
    mkdir -m 0700 "$XDG_RUNTIME_DIR"
}

# Whatever a failed step has left running ends with it.
leave_work_folder() {
    local pid
    for pid in ${run:+"$run"} $(processes | cut -d' ' -f1); do kill -KILL "$pid" 2>/dev/null; done
    rm -rf -- "$work"
}

# A command that must end with EXIT_CODE and say what the regular expression PATTERN matches on standard error, where
# an empty one means silence. A program of ours (not run.sh, which tells of several) refuses in one line.
expect() { # CASE EXIT_CODE PATTERN COMMAND...
    local rc=0 said pattern=${3:-^$}
    timeout --kill-after=5 120 "${@:4}" >"$work/stdout" 2>"$work/stderr" </dev/null || rc=$?
    said=$(<"$work/stderr")
    if [[ $rc == "$2" && $said =~ $pattern && ($rc != [23] || $4 == ./run.sh || $said != *$'\n'*) ]]; then
        printf 'ok      %s\n' "$1"
    else
        printf 'FAILED  %s: exit code %s, not %s; or not /%s/, or not one line:\n' "$1" "$rc" "$2" "$pattern"
        sed 's/^/        /' "$work/stderr"
        ((++failures))
    fi
}

# A condition that must hold.
check() { # CASE COMMAND...
    if "${@:2}"; then
        printf 'ok      %s\n' "$1"
    else
        printf 'FAILED  %s: %s\n' "$1" "${*:2}"
        ((++failures))
    fi
}

same() { [[ $1 == "$2" ]] || { printf '        %s is not %s\n' "$1" "$2" && false; }; }

verdict() { ((failures == 0)); }

# --- what a run leaves

lines_of() { wc -l <"$1/signatures.ndjson"; }

gaps_of() { # FOLDER: the sequences that don't follow the one before
    grep -o '"seq": *[0-9]*' "$1/signatures.ndjson" |
        awk -F '[: ]+' 'NR > 1 && $2 != last + 1 { print $2 } { last = $2 }'
}

field_of() { # FOLDER NAME: its values, a line each
    grep -o "\"$2\": *\"[^\"]*\"" "$1/signatures.ndjson" | sed 's/.*: *"//; s/"$//'
}

# COUNT messages stand in FOLDER, in order, all verified, with every file that a run writes.
check_run() { # CASE FOLDER COUNT
    local file
    check "$1: as many lines as messages" same "$(lines_of "$2")" "$3"
    check "$1: in order" same "$(gaps_of "$2")" ''
    check "$1: all verified" same "$(grep -c '"verified": *true' "$2/signatures.ndjson")" "$3"
    for file in {queue,sign,verify,end_to_end}.hgrm latency.hlog summary.json signer.json; do
        check "$1: $file" test -s "$2/$file"
    done
}

check_nothing_left() { # CASE
    check "$1: no ring left" same "$(ls -A "$XDG_RUNTIME_DIR")" ''
    check "$1: no process left" same "$(processes)" ''
}

# Prints the processes of ours that were started from this step's environment.
processes() {
    local process
    for process in /proc/[0-9]*; do
        if [[ $(readlink "$process/exe") == "$bin"/* ]] &&
            grep -qzsx "XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR" "$process/environ"; then
            printf '%s %s\n' "${process##*/}" "$(tr '\0' ' ' <"$process/cmdline")"
        fi
    done 2>/dev/null
}

# --- steps

step_build() { build_programs; }

# Every method on one runtime.
runs_on() { # RUNTIME
    local method
    enter_work_folder
    for method in ecdsa schnorr random; do
        expect "$1 $method" 0 '' \
            ./run.sh --runtime "$1" --method "$method" --messages 300 --workers 2 --out "$work/$method"
        check_run "$1 $method" "$work/$method" 300
        check_nothing_left "$1 $method"
    done
    verdict
}

step_native() { runs_on native; }
step_wasmtime() { runs_on wasmtime; }
step_wasmi() { runs_on wasmi; }
step_wasm3() {
    ((${#wasm3[@]})) || skip "wasm3 $no_wasm3"
    runs_on wasm3
}

# Real input in full: nothing lost, nothing reordered, from a file and from a pipe.
step_input() {
    local lines=$size
    local every=$((lines / 50 + 1))
    enter_work_folder
    seq -f 'message %.0f' "$lines" >"$work/input"
    expect 'a file' 0 '' ./run.sh --input "$work/input" --out "$work/file"
    check_run 'a file' "$work/file" "$lines"
    expect 'a pipe' 0 '' bash -c "./run.sh --input - --method schnorr --out '$work/pipe' <'$work/input'"
    check_run 'a pipe' "$work/pipe" "$lines"
    sed -n "1~${every}p" "$work/input" | while IFS= read -r line; do
        printf %s "$line" | sha256sum | cut -d' ' -f1
    done >"$work/digests"
    field_of "$work/file" message_sha256 | sed -n "1~${every}p" >"$work/found"
    check 'each line is the message it was' cmp "$work/digests" "$work/found"
    verdict
}

step_compare() {
    enter_work_folder
    expect 'compare' 0 '.*' ./run.sh --compare --messages "$size" --out "$work/out"
    check 'a table for signing' grep -q signing "$work/stdout"
    check 'a table for verifying' grep -q verifying "$work/stdout"
    check 'every runtime in both' same "$(grep -cE '^ *(wasmtime|wasmi)' "$work/stdout")" 12
    cat "$work/stdout"
    check_nothing_left 'compare'
    verdict
}

# What must be refused, and how. An error is one line that says what, where, and what to do.
step_bad_input() {
    enter_work_folder
    local key=$work/key.pem ring public_key role consumer
    "$bin/signer" keygen "$key" >"$work/stdout" && public_key=$("$bin/signer" public-key --key "$key") || return

    expect 'unknown flag' 2 '^run.sh: .*--frobnicate.*--runtime' ./run.sh --frobnicate
    expect 'unknown runtime' 2 'native.*wasm3' ./run.sh --runtime lua
    expect 'unknown runner' 2 '0.*3' ./run.sh --runner 4
    expect 'unknown method' 2 'ecdsa.*schnorr' ./run.sh --method rsa
    expect 'not a number' 2 '--messages' ./run.sh --messages many
    expect 'flag without its value' 2 '--rate' ./run.sh --rate
    expect 'folder of an earlier run' 2 '--out' ./run.sh --out "$work"
    expect 'input that is not there' 2 'absent' ./run.sh --input "$work/absent"
    expect 'ringctl: unknown flag' 2 '^ringctl: .*--frobnicate' "$bin/ringctl" create "$work/x" --frobnicate
    expect 'ringctl: not a number' 2 'capacity' "$bin/ringctl" create "$work/x" --capacity many
    for role in producer signer consumer; do
        expect "$role: unknown flag" 2 "^$role: .*--frobnicate" "$bin/$role" --frobnicate
        expect "$role: no arguments" 2 "^$role: .*--ring" "$bin/$role"
    done
    new_ring
    for role in producer "signer --key $key" "consumer --public-key $public_key --out $work/pinned"; do
        # shellcheck disable=SC2086 # a role and its arguments
        expect "${role%% *}: a processor that is not there" 2 "^${role%% *}: .*--cpu 1023" "$bin"/$role --ring "$ring" --cpu 1023
    done
    consumer=("$bin/consumer" --ring "$ring" --out "$work/refused" --public-key)
    expect 'producer: unknown method' 2 'schnorr' "$bin/producer" --ring "$ring" --method rsa
    expect 'signer: unknown runtime' 2 'wasmi' "$bin/signer" --ring "$ring" --key "$key" --runtime lua
    expect 'consumer: unknown verifier' 2 'k256' "${consumer[@]}" "$public_key" --verifier md5
    expect 'consumer: unknown encoding' 2 'base64' "${consumer[@]}" "$public_key" --encoding utf8
    expect 'consumer: not a public key' 2 'public key' "${consumer[@]}" 02ff

    bad_messages
    bad_keys
    bad_modules
    bad_rings
    foreign_signature
    verdict
}

# Sets `ring` to a new ring in a private folder.
new_ring() {
    ring=$(mktemp -d "$work/ring.XXXXXX")/ring
    "$bin/ringctl" create "$ring"
}

bad_messages() {
    local long
    long=$(printf '%300s' '' | tr ' ' x)
    printf '%s\n' one two "$long" four >"$work/long"
    expect 'message too long' 2 'long:3: ' ./run.sh --input "$work/long" --out "$work/too-long"
    check 'all before it is delivered' same "$(lines_of "$work/too-long")" 2
    expect 'message too long, skipped' 0 'too long.*: 1' \
        ./run.sh --input "$work/long" --skip-oversize --out "$work/skipped"
    check_run 'message too long, skipped' "$work/skipped" 3
    expect 'a larger ring' 0 '' ./run.sh --input "$work/long" --message-capacity 512 --out "$work/larger"
    check_run 'a larger ring' "$work/larger" 4
    printf '%s\n' 00ff zz >"$work/hex"
    expect 'not hex' 2 'hex:2:' ./run.sh --input "$work/hex" --format hex --out "$work/not-hex"
    : >"$work/empty"
    expect 'an empty file' 0 '' ./run.sh --input "$work/empty" --out "$work/nothing"
    check 'an empty file: no lines' same "$(lines_of "$work/nothing")" 0
    check 'an empty file: a summary' test -s "$work/nothing/summary.json"
    expect 'a folder for a file' 2 '--input' ./run.sh --input "$work" --out "$work/folder"
    check_nothing_left 'bad messages'
}

# Each refusal has its own words.
bad_keys() {
    local case pattern
    mkdir -m 0700 "$work/keys"
    (
        umask 077
        cp "$key" "$work/keys/world-readable" && chmod 0604 "$work/keys/world-readable"
        ln -s "$key" "$work/keys/symlink"
        echo 'good morning' >"$work/keys/no-key"
        printf '%064d' 0 >"$work/keys/zero"
        echo fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141 >"$work/keys/order"
    )
    while read -r case pattern; do
        expect "key: $case" 2 "$pattern" "$bin/signer" public-key --key "$work/keys/$case"
        sed "s|$work/keys/$case||" "$work/stderr" >>"$work/key-errors"
        expect "key: $case, in a run" 2 "$case" ./run.sh --key "$work/keys/$case" --out "$work/run-$case"
    done <<'CASES'
missing         No such file|not found|does not exist|missing
world-readable  mode|readable|permission
symlink         symlink|symbolic link
no-key          not a .*key|no key
zero            zero
order           order
CASES
    check 'key: words of its own for each' same "$(sort -u "$work/key-errors" | wc -l)" 6
}

bad_modules() {
    local case pattern good=bins/null.base.wasm
    echo 'good morning' >"$work/not-wasm"
    LC_ALL=C sed 's/WasmAbiVersion_1_0/WasmAbiVersion_9_9/' $good >"$work/version"
    LC_ALL=C sed 's/WasmReset/WasmRezet/' $good >"$work/export"
    # (module (import "env" "Evil" (func (export "WasmAbiVersion_1_0"))))
    printf '\0asm\1\0\0\0\1\4\1\x60\0\0\2\x0c\1\3env\4Evil\0\0\7\x16\1\x12WasmAbiVersion_1_0\0\0' >"$work/import"
    while read -r case pattern; do
        new_ring
        expect "module: $case" 2 "$pattern" \
            "$bin/signer" --ring "$ring" --key "$key" --runtime wasmtime --module "ecdsa=$work/$case"
        expect "module: $case, in a run" 2 "$pattern" \
            ./run.sh --runtime wasmi --module "ecdsa=$work/$case" --out "$work/module-$case"
        check "module: $case, in a run: its folder is as empty as before" same "$(ls -A "$work/module-$case")" ''
    done <<'CASES'
missing   no such file
not-wasm  not WebAssembly
version   WasmAbiVersion_9_9
export    doesn't export WasmReset
import    imports env.Evil
CASES
    expect 'module: unknown name' 2 'ecdsa' \
        "$bin/signer" --ring "$ring" --key "$key" --runtime wasmtime --module "rsa=$good"
}

bad_rings() {
    local case pattern role
    mkdir -m 0700 "$work/ring"
    for case in short version wide zeros; do
        new_ring
        cp -p "$ring" "$work/ring/$case"
    done
    truncate -s 100 "$work/ring/short"
    head -c 1048576 /dev/zero >"$work/ring/zeros" && chmod 0600 "$work/ring/zeros"
    chmod 0644 "$work/ring/wide"
    printf '\x63' | dd of="$work/ring/version" bs=1 seek=8 conv=notrunc status=none # the version's low byte
    while read -r case pattern; do
        ring=$work/ring/$case
        expect "ring: $case, show" 3 "$pattern" "$bin/ringctl" show "$ring"
        expect "ring: $case, producer" 3 "$pattern" "$bin/producer" --ring "$ring" --messages 1
        expect "ring: $case, signer" 3 "$pattern" "$bin/signer" --ring "$ring" --key "$key" --runtime native
        expect "ring: $case, consumer" 3 "$pattern" \
            "$bin/consumer" --ring "$ring" --public-key "$public_key" --out "$work/ring-$case"
    done <<'CASES'
absent   no such ring
short    too few
version  layout version 99
wide     mode 644
zeros    no ring
CASES
}

# A record that doesn't verify is counted and written, and the run goes on to its end.
foreign_signature() {
    local folder=$work/foreign other
    "$bin/signer" keygen "$work/other.pem" >"$work/stdout"
    other=$("$bin/signer" public-key --key "$work/other.pem")
    new_ring
    "$bin/signer" --ring "$ring" --key "$key" --runtime native &
    "$bin/producer" --ring "$ring" --messages 10 --close &
    expect 'another key is trusted' 1 '' "$bin/consumer" --ring "$ring" --public-key "$other" --out "$folder"
    check 'another key is trusted: all are written' \
        same "$(grep -c '"verified": *false' "$folder/signatures.ndjson")" 10
    wait
}

# --- ends before the end

# Starts a run in a group of its own, with the default action for Ctrl-C, and waits until it is under way.
start_run() { # FOLDER MESSAGES
    env --default-signal=INT setsid ./run.sh --out "$1" --messages "$2" >"$work/stdout" 2>"$work/stderr" &
    run=$!
    for _ in {1..600}; do
        [[ ! -s $1/signatures.ndjson ]] || return 0
        sleep 0.1
    done
    echo 'FAILED  no message came through in a minute:' && sed 's/^/        /' "$work/stderr" && return 1
}

ends_with() { # EXIT_CODE
    local rc=0
    wait "$run" || rc=$?
    same $rc "$1"
}

# Prints the process of the first program whose command line begins with this.
process_of() { processes | awk -v command="$bin/$1 " 'index($0, $1 " " command) == 1 { print $1; exit }'; }

step_interrupt() {
    local signal code victim folder endless=1000000000000
    enter_work_folder
    for signal in INT:130 TERM:143 HUP:129; do
        code=${signal#*:} signal=${signal%:*} folder=$work/$signal
        start_run "$folder" $endless || return
        kill "-$signal" -- "-$run"
        check "SIG$signal: exit code" ends_with "$code"
        check "SIG$signal: whole lines" same "$(tail -c 1 "$folder/signatures.ndjson" | od -An -tx1)" ' 0a'
        check_nothing_left "SIG$signal"
    done
    for victim in producer signer consumer; do
        start_run "$work/$victim" $endless || return
        kill -KILL "$(process_of $victim)"
        check "$victim killed: exit code" ends_with 3
        check "$victim killed: is named" grep -q "$victim .*signal 9" "$work/stderr"
        check_nothing_left "$victim killed"
    done
    start_run "$work/worker" 50000 || return
    kill -KILL "$(process_of 'signer worker')"
    check 'worker killed: exit code' ends_with 0
    check_run 'worker killed' "$work/worker" 50000
    check_nothing_left 'worker killed'
    expect '| head -1' 0 '' bash -o pipefail -c "./run.sh --out '$work/head' | head -n 1"
    check '| head -1: a line' same "$(wc -l <"$work/stdout")" 1
    check_run '| head -1' "$work/head" 1024
    check_nothing_left '| head -1'
    verdict
}

# What root's tests can't show: each side of a border between users, seen by another user.
step_permissions() {
    local ring public_key nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    ((EUID == 0)) || skip 'changing to another user takes root'
    have setpriv || skip 'setpriv (util-linux) is not installed'
    enter_work_folder
    # The other user may not see the checkout.
    cp -r run.sh tools "$bin"/{producer,signer,consumer,ringctl} "$work/" && chmod -R go+rX "$work"
    "${nobody[@]}" test -x "$work/signer" || skip "another user has no way to $work"
    cd "$work" || return
    install -d -m 0700 -o 65534 -g 65534 theirs
    install -d -m 0700 ours
    install -d -m 0755 open
    { ./signer keygen ours/key.pem && "${nobody[@]}" ./signer keygen theirs/key.pem; } >stdout || return
    cp ours/key.pem open/key.pem
    public_key=$(./signer public-key --key ours/key.pem)
    ./ringctl create ours/ring && "${nobody[@]}" ./ringctl create theirs/ring || return
    cp ours/ring open/ring && chmod 0666 open/ring

    expect 'a key that is not readable' 2 'open/key.pem' "${nobody[@]}" ./signer public-key --key open/key.pem
    expect 'a key of another user' 2 'theirs/key.pem.*65534' ./signer public-key --key theirs/key.pem
    expect 'a folder of another user' 3 'ours/ring' "${nobody[@]}" ./ringctl show ours/ring
    expect 'a ring of another user, open to all' 3 'open/ring.*uid 0' "${nobody[@]}" ./ringctl show open/ring
    expect 'a ring of another user: producer' 3 'theirs/ring.*uid 65534' ./producer --ring theirs/ring --messages 1
    expect 'a ring of another user: signer' 3 'theirs/ring.*uid 65534' \
        ./signer --ring theirs/ring --key ours/key.pem --runtime native
    expect 'a ring of another user: consumer' 3 'theirs/ring.*uid 65534' \
        ./consumer --ring theirs/ring --public-key "$public_key" --out refused
    expect 'an output folder that is not writable' 3 'open/out' \
        "${nobody[@]}" ./consumer --ring theirs/ring --public-key "$public_key" --out open/out
    expect 'an output folder that is not writable, in a run' 3 'open/out' "${nobody[@]}" ./run.sh --out open/out
    expect 'an input that is not readable' 2 'open/key.pem' "${nobody[@]}" ./run.sh --input open/key.pem
    expect 'a key where none can be made' 3 'open/new.pem' "${nobody[@]}" ./signer keygen open/new.pem
    verdict
}
