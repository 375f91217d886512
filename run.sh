#!/usr/bin/env bash
# Sends messages through producer, signer and consumer over one private ring. `./run.sh --help` lists the flags.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/tools/build.sh"
source "$root/tools/flags.sh"

declare -A role_of=()
runtimes=(native wasmtime wasmi)
ring_dir='' worst=0 is_vain='' progress_args=()

say() { # LEVEL MESSAGE
    local message=${2//\\/\\\\} line="run.sh: $2" to=2
    if [[ ${option[--log-format]:-} == json ]]; then
        message=${message//\"/\\\"}
        TZ=UTC printf -v line '{"timestamp":"%(%FT%TZ)T","level":"%s","role":"run.sh","message":"%s"}' -1 "$1" "${message//$'\n'/ }"
    fi
    if [[ ${progress_args[*]} == *all* ]]; then to=4; fi
    printf '%s\n' "$line" >&"$to" || true
}
warn() { if [[ -z ${option[--quiet]:-} ]]; then say WARN "$*"; fi; }
note() { if [[ -t 2 && -z ${option[--quiet]:-} ]]; then say INFO "$*"; fi; }
die() { say ERROR "${*:2}" && exit "$1"; }

# --- what is asked for

# Turns numbers into names, and refuses what can be seen to fail before anything is built.
check() {
    local runner=${option[--runner]} input=${option[--input]} messages=${option[--messages]}
    local key=${option[--key]} out=${option[--out]} flag
    local runners=(wasmtime wasm3 native wasmtime) methods=(schnorr ecdsa random)
    if [[ -n ${option[--compare]} ]]; then
        for flag in --runtime --runner --method --verifier; do
            [[ -z ${option[$flag]} ]] || die 2 "--compare goes through every runtime and method: leave out $flag"
        done
        [[ $input != - ]] || die 2 '--compare reads its input again and again: give a file, not -'
    fi
    if [[ $runner == [0-2] && -n ${option[--runtime]} ]]; then
        die 2 "--runner $runner means --runtime ${runners[runner]}: give one of the two"
    fi
    [[ -n $input$messages ]] || producer_args+=(--messages 1024)
    if [[ $runner == 3 ]]; then
        [[ ${option[--runtime]} != native ]] || die 2 '--runner 3 swaps modules, and --runtime native runs none'
        signer_args+=(--runner 3)
    fi
    runtime=${option[--runtime]:-${runners[${runner:-0}]}}
    method=${option[--method]:-ecdsa}
    [[ $method != [0-2] ]] || method=${methods[method]}
    if [[ $method == null && -z ${option[--verifier]} ]]; then consumer_args+=(--verifier none); fi
    [[ -z $input || $input == - || (-r $input && ! -d $input) ]] || die 2 "--input $input: no file that can be read"
    if [[ -n ${option[--limits]} && ! -f ${option[--limits]} ]]; then die 2 "--limits ${option[--limits]}: no such file"; fi
    [[ -z $key || -e $key || -L $key ]] || die 2 "--key $key: no such file; \`signer keygen FILE\` makes one"
    if [[ -e $out ]]; then
        [[ -d $out && -z $(ls -A -- "$out") ]] || die 2 "--out $out is no empty folder: choose another"
    elif [[ -n $out ]]; then
        mkdir -p -- "$out" 2>/dev/null || die 3 "--out $out can't be made: choose another"
    fi
    [[ -z $out || -w $out ]] || die 3 "--out $out can't be written: choose another"
}

# --- what a run needs

build() {
    local quiet=(--quiet)
    command -v cargo >/dev/null || die 3 'cargo is missing: install Rust 1.95 or newer from https://rustup.rs'
    command -v cc >/dev/null || die 3 'a C compiler is missing: install gcc'
    if find_wasm3; then
        runtimes+=(wasm3)
    elif [[ $runtime == wasm3 || ${option[--verifier]} == wasm3 ]]; then
        die 2 "wasm3 $no_wasm3"
    elif [[ ! -x $bin/consumer || -n ${option[--compare]} ]]; then
        warn "going without wasm3, which $no_wasm3"
    fi
    if [[ ! -x $bin/consumer && -t 2 && -z ${option[--quiet]} ]]; then
        warn 'building; the first time takes a few minutes'
        quiet=()
    fi
    build_programs "${quiet[@]}" >&2 || die 3 'the build failed, as said above'
}

# Sets `key`: the user's choice, or a development key that is made on first use.
find_key() {
    local state=${XDG_STATE_HOME:-${HOME:-/nonexistent}/.local/state}/ringseal
    key=${option[--key]:-$state/development.pem}
    if [[ -z ${option[--key]} && ! -e $key ]]; then
        (umask 077 && mkdir -p -- "$state") 2>/dev/null || die 3 "no key can be kept in $state: give --key FILE"
        "$bin/signer" keygen "$key" >/dev/null
    fi
    public_key=$("$bin/signer" public-key --key "$key")
}

# Sets `out`: the user's choice, or a new folder in the checkout that is named after the time and $1.
find_folder() {
    local base nth=1
    base=$root/out/$(date +%Y-%m-%dT%H-%M-%S)-$1
    out=${option[--out]}
    [[ -z $out ]] || return 0
    mkdir -p -- "$root/out" 2>/dev/null || die 3 "$root/out can't be made: give --out DIR"
    out=$base
    while ! mkdir -- "$out" 2>/dev/null; do
        [[ -e $out ]] || die 3 "$out can't be made: give --out DIR"
        out=$base-$((++nth))
    done
}

# Sets `ring_dir`: a new private folder, in memory where there is such a place.
make_ring_dir() {
    local place
    for place in "${XDG_RUNTIME_DIR:-/dev/shm}" /dev/shm "${TMPDIR:-/tmp}"; do
        if ring_dir=$(mktemp -d -- "$place/ringseal.XXXXXX" 2>/dev/null); then return; fi
    done
    die 3 'no place for the ring: XDG_RUNTIME_DIR, /dev/shm and TMPDIR refuse new folders'
}

# --- the three processes

# Sends the messages through one ring, and notes the worst exit code.
run() { # RUNTIME METHOD FOLDER
    make_ring_dir
    "$bin/ringctl" create "$ring_dir/ring" "${ring_args[@]}" >/dev/null
    begin_progress
    launch consumer --out "$3" --public-key "$public_key" "${consumer_args[@]}" "${progress_args[@]}"
    launch signer --key "$key" --runtime "$1" --report "$3/signer.json" "${signer_args[@]}"
    if ready; then launch producer --method "$2" --report "$3/producer.json" "${producer_args[@]}"; else is_vain=yes; fi
    attend
    if [[ -n $is_vain ]]; then undo "$3"; fi
    rm -rf -- "$ring_dir"
}

# Nothing was sent: what a consumer of this very ring has begun in the folder goes, and the folder if it was made for it. Whatever
# else is in there is another run's.
undo() { # FOLDER
    local id
    id=$("$bin/ringctl" show "$ring_dir/ring" 2>/dev/null | sed -n 's/^id  *\([0-9a-f]*\),.*/\1/p') || true
    # Before its consumer has begun, a folder has no checkpoint.
    if [[ ! -e $1/checkpoint.json ]] || { [[ -n $id ]] && grep -qs "\"ring_id\":\"$id\"" "$1/checkpoint.json"; }; then
        find "$1" -mindepth 1 -delete
    fi
    if [[ -z ${option[--out]} ]]; then rmdir -- "$1" 2>/dev/null || true; fi
}

# Three processes share the terminal: the consumer alone draws on it, for all of them, and prints what the two others say
# above its lines. They say it into a pipe, which we keep open, so that nothing said is lost.
begin_progress() {
    local expected=${option[--messages]}
    progress_args=(--progress none)
    draws_progress || return 0
    if [[ -z $expected && -z ${option[--input]} ]]; then expected=1024; fi
    progress_args=(--progress all ${expected:+--expect "$expected"})
    mkfifo -- "$ring_dir/said" && exec 4<>"$ring_dir/said" || progress_args=(--progress none)
}

# Whether there is a terminal, and we are in its foreground: somebody else is drawn over otherwise.
draws_progress() {
    local group foreground rest
    [[ -t 2 && ${TERM:-dumb} != dumb && -z ${option[--quiet]} && ${option[--progress]} != none ]] || return
    read -r rest </proc/$$/stat && read -r _ _ group _ _ foreground rest <<<"${rest##*) }" && [[ $group == "$foreground" ]]
}

# Prints what was said and not printed by the consumer any more.
end_progress() {
    local line
    [[ ${progress_args[*]} == *all* ]] || return 0
    while IFS= read -r -t 0.05 -u 4 line; do printf '%s\n' "$line" >&2 || true; done
    exec 4<&-
    progress_args=()
}

# Makes the page about the runs in these folders, those of them that came to something. It changes nothing about how they went.
report() { # PAGE FOLDER...
    local plots=(${option[--plots]:+--plots "${option[--plots]}"}) folder folders=() said
    for folder in "${@:2}"; do
        if [[ -s $folder/summary.json ]]; then folders+=("$folder"); fi
    done
    ((${#folders[@]})) || return 0
    if said=$("$bin/consumer" report "${folders[@]}" --to "$1" "${plots[@]}" 2>&1); then
        note "what happened, with pictures: $1"
    else
        warn "no report: ${said#consumer: }"
    fi
}

# Starts a role in a session of its own: Ctrl-C reaches us alone, and each role hears of its end once.
launch() { # ROLE ARGUMENT...
    local command=("$bin/$1" --ring "$ring_dir/ring" "${roles_args[@]}" "${@:2}")
    if [[ ${progress_args[*]} != *all* ]]; then
        setsid "${command[@]}" <&3 3<&- &
    elif [[ $1 == consumer ]]; then
        setsid "${command[@]}" <&4 3<&- 4<&- &
    else
        setsid "${command[@]}" --progress none <&3 2>&4 3<&- 4<&- &
    fi
    role_of[$!]=$1
}

# Waits until all can sign and verify, so that no message is timed while it waits for them to start. False if one of
# them ends instead.
ready() {
    local pid members
    while true; do
        for pid in "${!role_of[@]}"; do kill -0 "$pid" 2>/dev/null || return; done
        members=$("$bin/ringctl" show "$ring_dir/ring" | grep -cE '^member +(signer|consumer) .*alive') || true
        ((members < 1 + ${option[--workers]:-1})) || return 0
        sleep 0.02
    done
}

# Waits for the roles. However the producer ends, the ring is closed then, which lets the others finish. Whoever else
# ends early or with an error takes the rest along, and so does a ring in which nothing moves any more.
attend() {
    local pid role how rc before shown='' closing=0
    while ((${#role_of[@]} > closing)); do # from the closing on, one of them is the clock
        rc=0
        wait -n -p pid "${!role_of[@]}" 2>/dev/null || rc=$?
        role=${role_of[$pid]} how="with exit code $rc"
        unset "role_of[$pid]"
        if ((rc > 128)); then how="by signal $((rc - 128))" rc=3; fi
        note_exit "$rc"
        case $role in
            producer)
                if [[ $how == by* ]]; then say ERROR "producer was ended $how"; fi
                closing=1
                "$bin/ringctl" close "$ring_dir/ring" >/dev/null & # waits while the ring is full
                role_of[$!]=ringctl
                start_clock
                ;;
            clock)
                before=$shown
                shown=$("$bin/ringctl" show "$ring_dir/ring" 2>&1) || true
                start_clock
                if [[ $shown == "$before" ]]; then abandon 3 'nothing has moved in the ring for 10 s'; fi
                ;;
            *)
                if ((rc > 1 || !closing)); then abandon 1 "$role ended early, $how"; fi
                ;;
        esac
    done
    stop
}

start_clock() {
    sleep 10 &
    role_of[$!]=clock
}

note_exit() { worst=$(($1 > worst ? $1 : worst)); }

abandon() { # EXIT_CODE WHY
    say ERROR "$2: the run is stopped"
    note_exit "$1"
    stop
}

# Ends what still runs, and says what is left to be said.
stop() {
    end_roles
    end_progress
}

# Asks, waits up to five seconds, then insists. A role leads its own group, workers included.
end_roles() {
    local pid signal=TERM
    ((${#role_of[@]})) || return 0
    # Nothing to write down: whoever waits for messages is not asked for a table.
    if [[ -n $is_vain ]]; then signal=KILL; fi
    {
        kill "-$signal" "${!role_of[@]}" || true
        for _ in {1..50}; do
            kill -0 "${!role_of[@]}" || break
            sleep 0.1
        done
        for pid in "${!role_of[@]}"; do
            kill -KILL -- "-$pid" "$pid" || true
        done
        wait "${!role_of[@]}" || true
    } 2>/dev/null # what bash says of its children too
    role_of=()
}

# shellcheck disable=SC2317 # called by the trap
cleanup() {
    trap '' INT TERM HUP
    stop
    if [[ -n $ring_dir ]]; then rm -rf -- "$ring_dir"; fi
}

# --- what to run

# Every runtime signs and verifies with every method, the mixed one with a swap of modules at each change.
compare() {
    local folder folders=() signer=("${signer_args[@]}") consumer=("${consumer_args[@]}")
    for runtime in "${runtimes[@]}"; do
        for method in ecdsa schnorr random; do
            note "$runtime $method"
            folder=$out/$runtime-$method
            folders+=("$folder")
            mkdir -- "$folder"
            consumer_args=("${consumer[@]}" --verifier "$runtime")
            signer_args=("${signer[@]}")
            if [[ $method == random && $runtime != native ]]; then signer_args+=(--runner 3); fi
            run "$runtime" "$method" "$folder" >/dev/null
        done
    done
    report "$out/report.html" "${folders[@]}"
    "$bin/consumer" compare "${folders[@]}"
}

main() {
    ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) || die 3 "bash 5.1 or newer is needed, this is $BASH_VERSION"
    parse_flags "$@"
    trap '' PIPE # a reader that went away (`| head -1`) ends nothing and is no error
    if [[ -n ${option[--help]} ]]; then
        print_help 2>/dev/null || true
        exit 0
    fi
    # Before the build: a signal that reaches this shell alone would be forgotten there.
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    check
    build
    { exec 3<&0; } 2>/dev/null || exec 3</dev/null # standard input, which a job in the background has to be given
    find_key
    if [[ -n ${option[--compare]} ]]; then
        find_folder compare
        compare
    else
        find_folder "$runtime-$method"
        run "$runtime" "$method" "$out"
        report "$out/report.html" "$out"
    fi
    exit "$worst"
}

main "$@"
