#!/usr/bin/env bash
# Every check of the project: `./test.sh`. Some of them: `./test.sh NAME [--SIZE N]...`, with the names and sizes below.
# `./test.sh long`: the campaigns at full size. Ends with the line `N passed, N failed, N skipped`, and fails when a step failed.
# shellcheck disable=SC2317 # steps are called by their names
set -uo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/tools/build.sh"
cd "$root" || exit 3
source tools/e2e.sh
source tools/metrics.sh
source tools/docs.sh
source tools/live.sh
source tools/campaigns.sh

# Every step, in order: name, group, the minutes it may take (as it runs by default, and in full), its size (name, default, in
# full), what it checks. Those of the group `beside` compute and wait for nothing: in a run of everything they go on, nice, beside
# the steps that follow, and are told of at the end.
steps='
format          core      2     -                          rustfmt
scripts         core      2     -                          shellcheck over the shell scripts
floors          core      1     -                          locked versions are not below the first ones without known defects
deny            core      5     -                          cargo deny: bans, licenses, sources
lints           core      12    -                          clippy, warnings denied
features        core      10    -                          each runtime builds alone
tests           core      25    -                          tests of the workspace
modules         core      10    -                          lints and tests of the guest modules, and that bins/ is built from them
docs            core      8     -                          rustdoc, warnings denied
vectors         core      10    -                          published test vectors, through every implementation
build           e2e       15    -                          the programs, as run.sh builds them
loom            beside    15    -                          models of the ring protocol, every interleaving
weaken          beside    15/30 labels:5:99                each ordering left out in turn: some model must notice
fuzz            beside    20/60 seconds:5:380              each fuzz target, with the address sanitizer
bench           apart     20    -                          bench/: lints, tests, every contender once, right or not: only when it is named, and with long, for it is a build of its own
native          e2e       3     -                          every method on this runtime, three processes each time
wasmtime        e2e       3     -                          the same
wasmi           e2e       3     -                          the same
wasm3           e2e       3     -                          the same
input           e2e       5     lines:100000               lines through a file and a pipe
compare         e2e       10    messages:64                run.sh --compare, so many messages each
bad-input       e2e       5     -                          each bad input is refused in its own words, with its own exit code
interrupt       e2e       5     -                          Ctrl-C, SIGTERM and SIGKILL leave no ring and no process behind
live            e2e       3     -                          progress on a terminal and nowhere else, ringctl top, messages as JSON
metrics         e2e       3     -                          what a signer tells of itself over HTTP, read by promtool
commands        e2e       10    -                          every block of commands in README.md and docs/, as it stands there
help            e2e       3     -                          --help, man pages and completions, and that docs/ says what they say
permissions     e2e       3     -                          what another user may not do
guests          outside   10    -                          modules rebuilt from source behave the same
readers-python  outside   5     -                          histogram files, read by the PyPI package hdrhistogram
readers-node    outside   5     -                          histogram files, read by the npm package hdr-histogram-js
report          outside   5     -                          the pages about a run and about several, in a real browser
openssl         outside   3     -                          signatures, verified by openssl
attach          campaign  3/10  starts:100:1000            simultaneous starts have one winner; who must be refused, is
steps           campaign  5/30  times:1:20                 each role killed at each step of each transition
crash           campaign  5/90  kills:40:10000             each role killed at random moments under load, on every runtime
poison          campaign  3/20  rounds:1:50                records that kill their signers fail, and no others
pause           campaign  3/40  stops:20:1000              processes stopped for up to 30 s lose nothing and are not robbed
sigbus          campaign  3/30  rounds:15:1000             rings cut and punched under running processes
batch           campaign  5/20  cases:5000:1000000         signatures made in batches are those that k256 makes one by one, to the byte
cache           campaign  5/20  files:300:10000            compiled modules that were tampered with never run; many processes share a cache
hostile         campaign  5/40  signatures:20000:1000000   a message that changes while it is signed gives no key away
malformed       campaign  5/60  mutants:1000:200000        official malformed and invalid modules are refused, damaged ones crash no runtime
keyscan         campaign  5/20  rounds:1:20                no form of the key lies where it must not, and a crash leaves no core
gallery         campaign  8/40  rounds:1:10                hostile modules on every runtime: contained, named, and nobody else is hurt
swap            campaign  8/240 swaps:40:10000             modules swapped under load, and kills in mid-swap: old or new, never neither
mutate          campaign  5/40  rounds:8:300               random bytes written all over a ring at work
volume          campaign  5/60  messages:50000:1000000     many messages on each fast runtime'

# Ends a step that can't be done here.
skip() {
    printf 'skipped: %s\n' "$*"
    exit 77
}

have() { command -v "$1" >/dev/null; }

# --- core

step_format() {
    local workspace
    for workspace in . bench fuzz modules; do
        cargo fmt --all --check --manifest-path "$workspace/Cargo.toml" || return
    done
}

step_scripts() {
    have shellcheck || skip 'shellcheck is not installed'
    shellcheck -x run.sh test.sh tools/*.sh modules/build.sh bench/run.sh .ci/run
}

step_floors() {
    local name floor found version failed=0
    while read -r name floor; do
        found=0
        while read -r version; do
            found=1
            printf '%s %s, at least %s\n' "$name" "$version" "$floor"
            printf '%s\n' "$floor" "$version" | sort -VC || failed=1
        done < <(cat Cargo.lock modules/Cargo.lock | locked_versions "$name")
        ((found)) || { printf '%s is locked nowhere: has the floor outlived it?\n' "$name" && failed=1; }
    done <<'FLOORS'
crossbeam-epoch 0.9.20
memmap2         0.9.11
rkyv            0.8.17
wasmtime        48.0.8
FLOORS
    return "$failed"
}

locked_versions() { # NAME
    awk -v name="\"$1\"" '$1 == "name" { is = $3 == name } is && $1 == "version" { gsub(/"/, "", $3); print $3 }'
}

step_deny() {
    cargo deny --version || skip 'cargo-deny is not installed'
    cargo deny --offline check bans licenses sources &&
        cargo deny --offline --manifest-path modules/Cargo.toml --config deny.toml check bans licenses sources
}

# In release, as everything else here: the libraries in C are built once.
step_lints() {
    cargo clippy --release --workspace --all-targets --locked "${wasm3[@]}" -- -D warnings
}

# The same packages each time, so that what they depend on is checked once. (Campaigns and the tool that bakes modules have
# runtimes of their own.)
step_features() {
    local runtime
    for runtime in '' wasmtime wasmi ${wasm3:+wasm3}; do
        cargo clippy --release --workspace --exclude campaigns --exclude bake --locked --no-default-features \
            --features "${runtime:+signer/$runtime consumer/$runtime}" -- -D warnings || return
    done
    cargo clippy --release --workspace --exclude campaigns --exclude bake --locked -- -D warnings
}

# In release: interpreted signatures take their time, and what is built here serves the runs that follow.
step_tests() {
    run_tests --release "${wasm3[@]}" && cargo test --release --workspace --locked --doc "${wasm3[@]}"
}

run_tests() { # ARGUMENT...
    if have cargo-nextest; then
        cargo nextest run --workspace --locked --no-fail-fast "$@"
    else
        cargo test --workspace --locked --no-fail-fast --lib --bins --tests "$@"
    fi
}

# The short form of everything: figures mean nothing, but whoever gives wrong payloads, signatures or counts fails.
step_bench() {
    local workspace=(--workspace --locked --manifest-path bench/Cargo.toml --target-dir "$target" ${wasm3:+--features wasm3})
    cargo clippy "${workspace[@]}" --all-targets -- -D warnings &&
        cargo test --release "${workspace[@]}" --lib &&
        bench/run.sh --short --out "$target/bench-short"
}

step_modules() {
    modules/build.sh --check || return
    cd modules &&
        cargo clippy --workspace --all-targets --locked -- -D warnings &&
        run_tests &&
        cargo test --workspace --locked --doc
}

step_docs() {
    export RUSTDOCFLAGS='-D warnings'
    cargo doc --release --workspace --no-deps --locked "${wasm3[@]}" &&
        cargo doc --workspace --no-deps --locked --manifest-path modules/Cargo.toml
}

step_vectors() {
    local folder=${RINGSEAL_VECTORS:-$root/../shared/vectors}
    [[ -d $folder ]] || skip "there are no vectors in $folder"
    cargo test --release --workspace --locked "${wasm3[@]}" --test vectors -- --nocapture --test-threads 1 | some_passed &&
        cargo test --release --workspace --locked "${wasm3[@]}" --test suite vectors -- --nocapture --test-threads 1 |
        some_passed
}

# Passes a test run's output on, and fails if no test was run: its name may have changed.
some_passed() { awk '{ print } /^test result: ok\. [1-9]/ { some = 1 } END { exit !some }'; }

# --- needs packages from outside

step_guests() {
    local rc=0
    enter_work_folder
    modules/build.sh --out "$work/bins" || rc=$?
    ((rc != 3)) || skip 'no Rust toolchain here makes WebAssembly: rustup target add wasm32v1-none'
    ((rc == 0)) || return "$rc"
    export RINGSEAL_MODULES=$work/bins
    cargo test --release --workspace --locked "${wasm3[@]}" --test conformance --test differential | some_passed
}

step_readers_python() {
    local venv=$target/readers/python readers=consumer/tests/readers
    [[ -x $venv/bin/pip ]] || python3 -m venv "$venv" || skip 'python3 has no venv: install python3-venv'
    fetch "$venv/bin/pip" install --disable-pip-version-check --timeout 15 -r "$readers/requirements.txt" ||
        skip "the packages of $readers/requirements.txt can't be had from PyPI"
    run_for_readers && "$venv/bin/python" "$readers/read.py" "$work/run"
}

step_readers_node() {
    local folder=$target/readers/node
    have npm || skip 'npm is not installed'
    mkdir -p "$folder" && cp consumer/tests/readers/{package.json,package-lock.json,read.mjs} "$folder/" || return
    (cd "$folder" && fetch npm ci --no-audit --no-fund) || skip "the packages of package-lock.json can't be had from npm"
    run_for_readers && node "$folder/read.mjs" "$work/run"
}

# Runs that went well and badly, much and little; what each page shows is held against the files.
step_report() {
    local folder=$target/readers/page browser runs=() pages=() run
    browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || skip 'chromium is not installed'
    have npm || skip 'npm is not installed'
    mkdir -p "$folder" && cp consumer/tests/page/{package.json,package-lock.json,look.mjs} "$folder/" || return
    (cd "$folder" && fetch npm ci --no-audit --no-fund) || skip "the packages of package-lock.json can't be had from npm"
    enter_work_folder
    expect 'a run' 0 '' ./run.sh --rate 2000 --messages 1500 --plots svg --out "$work/steady"
    check 'a run: pictures' test -s "$work/steady/percentiles.svg"
    : >"$work/empty" && printf '%300s\n' x | tr ' ' x >"$work/long" && echo short >>"$work/long"
    expect 'no message' 0 '' ./run.sh --input "$work/empty" --out "$work/none"
    expect 'a message, and one left out' 0 'left out' ./run.sh --input "$work/long" --skip-oversize --out "$work/one"
    expect 'a mixed run' 0 '' ./run.sh --runtime native --method random --workers 2 --plots png --out "$work/mixed"
    check 'a mixed run: pictures' test -s "$work/mixed/percentiles.png"
    for run in steady none one mixed; do
        runs+=("$work/$run") pages+=("$work/$run/report.html" "$work/$run" --)
    done
    expect 'several' 0 '' "$bin/consumer" report "${runs[@]}" --to "$work/several.html"
    HOME=$work check 'every page' timeout 60 node "$folder/look.mjs" "$browser" "${pages[@]}" "$work/several.html" "${runs[@]}"
    expect 'no run' 2 'summary.json' "$bin/consumer" report "$work/rings"
    expect 'a page that can not be' 3 'no-folder.*--to' "$bin/consumer" report "$work/one" --to "$work/no-folder/page.html"
    # A page that can't be made takes nothing from its run.
    mkdir -p "$work/blocked" && expect 'no room for the page' 0 'no report: .*report.html' bash -c \
        "(until [[ -e '$work/blocked/latency.hlog' ]]; do sleep 0.01; done; mkdir '$work/blocked/.report.html.partial') & ./run.sh --out '$work/blocked'"
    check_run 'no room for the page' "$work/blocked" 1024
    verdict
}

fetch() { timeout 120 "$@"; }

run_for_readers() {
    enter_work_folder
    ./run.sh --method random --rate 2000 --messages 5000 --out "$work/run"
}

# Signatures of lines that we know, verified by a tool that is not ours; and refused for another line.
step_openssl() {
    local lines signatures line public_key
    have openssl || skip 'openssl is not installed'
    enter_work_folder
    seq -f 'message %.0f' 100000 >"$work/input"
    ./run.sh --input "$work/input" --encoding der --out "$work/run" || return
    public_key=$(field_of "$work/run" public_key | sed -n 1p)
    unhex "3036301006072a8648ce3d020106052b8104000a032200$public_key" >"$work/key.der" # SubjectPublicKeyInfo, secp256k1
    mapfile -t lines <"$work/input"
    mapfile -t signatures < <(field_of "$work/run" signature)
    for ((line = 0; line < 100000; line += 997)); do
        unhex "${signatures[line]}" >"$work/signature"
        printf %s "${lines[line]}" >"$work/message"
        check "line $line" openssl_verifies
        printf %s "${lines[line]}?" >"$work/message"
        check "not line $line" not openssl_verifies
    done
    verdict
}

unhex() { printf %b "$(fold -w 2 <<<"$1" | sed 's/^/\\x/' | tr -d '\n')"; }

not() { ! "$@"; }

openssl_verifies() {
    openssl dgst -sha256 -keyform DER -verify "$work/key.der" -signature "$work/signature" "$work/message"
}

# --- the machine

# Installs what steps need and this machine lacks, where that is allowed. What can't be had makes its step skip.
set_up() {
    local packages=() package
    have cc || packages+=(gcc libc6-dev)
    have c++ || packages+=(g++)
    have shellcheck || packages+=(shellcheck)
    have openssl || packages+=(openssl)
    have groff || packages+=(groff)
    have mandoc || packages+=(mandoc)
    have setpriv || packages+=(util-linux)
    have curl || packages+=(curl)
    have promtool || packages+=(prometheus)
    have npm || have node || packages+=(npm)
    have chromium || packages+=(chromium)
    python3 -c 'import ensurepip' || packages+=(python3-venv)
    installed_libclang >/dev/null || packages+=(libclang-14-dev)
    if [[ ! -d $(rustc --print target-libdir --target wasm32v1-none) && ! -x /usr/bin/rustc ]]; then
        fetch rustup target add wasm32v1-none || packages+=(rustc-web cargo-web rust-web-src lld)
    fi
    ((${#packages[@]})) || return 0
    if ((EUID != 0)) || ! have apt-get; then
        printf 'missing here, install to have every step: %s\n' "${packages[*]}" >&3
        return 0
    fi
    printf 'installing %s\n' "${packages[*]}" >&3
    export DEBIAN_FRONTEND=noninteractive
    timeout 180 apt-get update
    for package in "${packages[@]}"; do
        timeout 300 apt-get install --yes --no-install-recommends "$package"
    done
}

# --- the run

passed=0 failed=0 skipped=0 logs=$target/test-logs

# Runs a step in a shell of its own, and tells how it went.
run_step() { # NAME GROUP MINUTES SIZE
    printf '%-15s ' "$1"
    try_step "$1" "$3" "$4" &
    wait $! || true
    tell_step "$1" "$2" "$3"
}

# Runs a step quietly, and leaves its exit code and the seconds that it took.
try_step() { # NAME MINUTES SIZE
    local began=$SECONDS rc=0
    trap stop_jobs INT TERM
    timeout --kill-after=20 "${2}m" "$root/test.sh" --step "$1" "$3" </dev/null >"$logs/$1.log" 2>&1 &
    wait $! || rc=$?
    printf '%d %d\n' $rc $((SECONDS - began)) >"$logs/$1.rc"
}

# Says what came of a step that has been tried: one line unless it failed. A campaign's last line is its verdict.
tell_step() { # NAME GROUP MINUTES
    local log=$logs/$1.log rc=1 seconds=0
    read -r rc seconds <"$logs/$1.rc"
    rm -f "$logs/$1.rc"
    case $rc in
        0)
            ((++passed))
            printf 'ok, %d s' "$seconds"
            if [[ $2 == campaign || $2 == beside ]]; then printf '; %s' "$(tail -n 1 "$log")"; fi
            printf '\n'
            ;;
        77) ((++skipped)) && tail -n 1 "$log" ;;
        *)
            ((++failed))
            if ((seconds >= $3 * 60)); then printf 'not done after %d minutes\n' "$3" >>"$log"; fi
            printf 'FAILED, %d s; the end of %s:\n' "$seconds" "$log"
            grep -v '^ok ' "$log" | tail -n 40 | sed 's/^/    /'
            ;;
    esac
}

# Tries the steps that are to go on beside the others, one after the other.
try_beside() { # LINE...
    local line name minutes size
    trap stop_jobs INT TERM
    renice -n 19 "$BASHPID" >/dev/null
    for line in "$@"; do
        read -r name minutes size <<<"$line"
        try_step "$name" "$minutes" "$size" &
        wait $!
    done
}

do_step() { # NAME SIZE
    # shellcheck disable=SC2034 # for the step
    size=$2
    find_wasm3
    "step_${1//-/_}"
    exit
}

# Ends what runs in the background of this shell, and the shell.
stop_jobs() {
    local job
    for job in $(jobs -p); do kill -TERM "$job"; done
    exit "${1:-143}"
}

bad_arguments() {
    printf 'test.sh: %s\n' "$1" >&2
    exit 2
}

main() {
    local name group minutes measure rest last='' names=' ' groups=' ' wanted=' ' beside=() jobs_beside='' line
    local -A measures=() sizes=()
    while read -r name group minutes measure rest; do
        names+="$name "
        measures[$name]=$measure
        [[ $groups == *" $group "* ]] || groups+="$group "
    done <<<"${steps#?}"
    while (($#)); do
        if [[ $1 == --* && -n $last ]]; then
            [[ ${measures[$last]-} == "${1#--}":* ]] || bad_arguments "$last takes no $1"
            [[ ${2-} =~ ^[0-9]+$ ]] || bad_arguments "$1 takes a number, not '${2-}'"
            sizes[$last]=$2
            shift
        elif [[ "$names$groups" == *" $1 "* || $1 == long ]]; then
            wanted+="$1 " last=$1
        else
            bad_arguments "unknown step '$1'; the steps are${names}or all of${groups}or long"
        fi
        shift
    done
    mkdir -p "$logs"
    trap 'stop_jobs 130' INT
    trap 'stop_jobs 143' TERM
    if [[ $wanted == ' ' ]]; then set_up 3>&1 >"$logs/set-up.log" 2>&1 </dev/null; fi
    while read -r name group minutes measure rest; do
        IFS=: read -r _ small full <<<"$measure"
        if [[ $wanted == ' ' && $group == beside ]]; then
            beside+=("$name ${minutes%/*} ${small:-}")
            continue
        elif ((${#beside[@]})) && [[ -z $jobs_beside ]]; then
            try_beside "${beside[@]}" &
            jobs_beside=$!
        fi
        if [[ $wanted == *' long '* && ($group == campaign || $group == beside || $group == apart) ]]; then
            run_step "$name" "$group" "${minutes#*/}" "${full:-${small:-}}"
        elif [[ -n ${sizes[$name]-} ]]; then
            run_step "$name" "$group" "${minutes#*/}" "${sizes[$name]}"
        elif [[ $wanted == *" $name "* || $wanted == *" $group "* || ($wanted == ' ' && $group != apart) ]]; then
            run_step "$name" "$group" "${minutes%/*}" "${small:-}"
        fi
    done <<<"${steps#?}"
    if [[ -n $jobs_beside ]]; then wait "$jobs_beside"; fi
    for line in "${beside[@]}"; do
        read -r name minutes rest <<<"$line"
        printf '%-15s ' "$name"
        tell_step "$name" beside "$minutes"
    done
    printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
    exit $((failed > 0))
}

# Both exit, so that a change to this file during a run changes nothing in it.
if [[ ${1-} == --step ]]; then do_step "$2" "$3"; else main "$@"; fi
