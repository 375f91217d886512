# shellcheck shell=bash
# shellcheck disable=SC2154 # tools/build.sh and test.sh, which sources this, set them
#
# Sourced by test.sh: its campaigns. Each prints its seed and ends with one line of verdict, which is also appended to
# $target/campaigns.tsv (time, campaign, seed, counts, commit, result): a total may come from several sittings.

results=$target/campaigns.tsv

# Notes the verdict of a campaign that is a script.
note_result() { # CAMPAIGN COUNTS RESULT
    local commit
    commit=$(git rev-parse --short HEAD 2>/dev/null || printf unknown)
    [[ -z $(git status --porcelain --untracked-files=no 2>/dev/null) ]] || commit+=-dirty
    printf '%s\t%s\t-\t%s\t%s\t%s\n' "$(date +%s)" "$1" "$2" "$commit" "$3" >>"$results"
    printf '%s: %s\n' "$1" "$2"
}

# Runs a campaign against the programs as they are shipped.
campaign() { # NAME ARGUMENT...
    build_programs --quiet -p campaigns -p producer -p signer -p consumer -p shmem-layout || return
    XDG_CACHE_HOME=$target/cache "$bin/campaign" "$1" --programs "${programs:-$bin}" --results "$results" "${@:2}"
}

# The runtimes that this build has, the slow ones last.
runtimes() { printf 'native,wasmtime,wasmi%s' "${wasm3:+,wasm3}"; }

step_crash() { campaign crash --kills "$size" --runtimes "$(runtimes)"; }
step_malformed() { campaign malformed --mutants "$size" --runtimes "$(runtimes)"; }
step_keyscan() { campaign keyscan --rounds "$size" --runtimes "$(runtimes)"; }
step_gallery() { campaign gallery --rounds "$size" --runtimes "$(runtimes)"; }
# A quarter as many kills as swaps where there are few, a tenth where there are many.
step_swap() { campaign swap --swaps "$size" --kills $((size < 500 ? size / 4 : size / 10)) --runtimes "$(runtimes)"; }
step_batch() { campaign batch --cases "$size" --runtimes "$(runtimes)"; }
step_poison() { campaign poison --rounds "$size"; }
step_sigbus() { campaign sigbus --rounds "$size"; }
step_cache() { campaign cache --files "$size"; }
step_attach() { campaign attach --starts "$size"; }
step_hostile() { campaign hostile --signatures "$size" --runtimes "$(runtimes)"; }
step_mutate() { campaign mutate --rounds "$size"; }
step_pause() {
    # A few seconds will do where there are few stops.
    if ((size < 500)); then set -- --longest 2; fi
    campaign pause --stops "$size" "$@"
}

# Programs of their own, native alone: the shipped ones have no failpoints. They are built where the others are, for most of what
# they depend on is the same, and are put aside before the others are put back.
step_steps() {
    local folder=$target/failpoints
    cargo build --release --locked -p producer -p signer -p consumer -p shmem-layout \
        --no-default-features --features shmem-layout/failpoints,shmem-layout/ringctl || return
    mkdir -p "$folder" && cp -f "$bin"/{producer,signer,consumer,ringctl} "$folder/" || return
    programs=$folder campaign steps --times "$size"
}

step_volume() {
    local runtime
    enter_work_folder
    for runtime in native wasmtime; do
        expect "$runtime" 0 '' ./run.sh --runtime "$runtime" --method random --messages "$size" --out "$work/$runtime"
        check_run "$runtime" "$work/$runtime" "$size"
    done
    note_result volume "$size messages on native and on wasmtime, $failures failures" "$( ((failures)) && printf failed || printf passed)"
    verdict
}

# --- fuzzing

# What cargo-fuzz sets, but for traced comparisons (see fuzz/README.md). The sanitizer is a nightly feature; the bootstrap
# variable lets a stable toolchain have it.
build_fuzz_targets() {
    local coverage='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4'
    coverage+=' -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table'
    RUSTC_BOOTSTRAP=1 cargo build --release --locked --bins --manifest-path fuzz/Cargo.toml --target-dir "$target/fuzz" \
        --target "$host" --config "build.rustflags='$coverage -Cllvm-args=-simplifycfg-branch-fold-threshold=0 --cfg fuzzing -Zsanitizer=address -Cdebug-assertions -Ccodegen-units=1'"
}

# Runs TARGET for SECONDS, with inputs of up to LEN bytes; what it says goes to a file of its own.
fuzz_one() { # TARGET SECONDS LEN
    mkdir -p "$target/fuzz-found/$1"
    ASAN_OPTIONS=detect_stack_use_after_return=0:malloc_context_size=0:quarantine_size_mb=1 \
        "$target/fuzz/$host/release/$1" -max_len="$3" -entropic=0 -reduce_inputs=0 -timeout=20 -max_total_time="$2" \
        -artifact_prefix="$target/fuzz-found/$1-" "$target/fuzz-found/$1" "fuzz/corpus/$1" >"$target/fuzz-$1.log" 2>&1
}

step_fuzz() {
    local host name findings=0 counts='' job
    local -A jobs=()
    host=$(rustc -vV | sed -n 's/^host: //p')
    have c++ || skip 'a C++ compiler is missing: install g++'
    [[ -n $(find "$(rustc --print sysroot)/lib/rustlib/$host/lib" -name '*rt.asan.a') ]] ||
        skip 'this Rust toolchain has no AddressSanitizer'
    build_fuzz_targets || return
    fuzz_one attach "$size" 200 &
    jobs[attach]=$!
    fuzz_one recovery "$size" 64 &
    jobs[recovery]=$!
    for name in attach recovery mutation; do
        # The last one alone, for it has two threads, and for less long, for it has less to try.
        if [[ $name == mutation ]]; then
            fuzz_one mutation $((size / 3 + 1)) 150 &
            jobs[mutation]=$!
        fi
        job=${jobs[$name]}
        if ! wait "$job"; then
            ((++findings))
            tail -n 30 "$target/fuzz-$name.log"
        fi
        counts+="$name $(grep -oE '^Done [0-9]+' "$target/fuzz-$name.log" | grep -oE '[0-9]+') executions, "
    done
    note_result fuzz "$counts$findings findings" "$( ((findings)) && printf failed || printf passed)"
    ((findings == 0))
}

# --- models

# Sets `models_binary`.
build_models() {
    local said
    said=$(RUSTFLAGS='--cfg loom' cargo test -p shmem-layout --no-default-features --lib --release --locked --target-dir "$target/loom" --no-run 2>&1) || {
        printf '%s\n' "$said"
        return 1
    }
    models_binary=$(grep -oE '[^ ()]+/shmem_layout-[0-9a-f]+' <<<"$said")
    [[ -n $(models) ]]
}

models() { "$models_binary" --list 2>/dev/null | sed -n 's/: test$//p'; }

step_loom() {
    build_models || return
    "$models_binary" models:: | some_passed || return
    note_result loom "$(models | wc -l) models hold" passed
}

# Leaves out each ordering in turn. The models that notice most, and soonest, come first.
step_weaken() {
    local label model noticed count=0 survivors=0 order sources=shmem-layout/src
    build_models || return
    mapfile -t labels < <(grep -rhoE '(release|acquire|full)(_fence)?\("[^"]+"\)' "$sources" | grep -oE '"[^"]+"' | tr -d '"' | sort -u)
    ((${#labels[@]} > 10)) || { printf 'only %d labels were found in %s\n' "${#labels[@]}" "$sources" && return 1; }
    mapfile -t labels < <(printf '%s\n' "${labels[@]}" | shuf -n "$size")
    order=$(models | grep -E 'seen_whole|not_written_again|found_complete|newcomer|never_goes_back|full_ring|comes_after')
    order+=$'\n'$(models | grep -vxF "$order")
    for label in "${labels[@]}"; do
        noticed=''
        while read -r model; do
            if ! RINGSEAL_WEAKEN=$label RUST_BACKTRACE=0 "$models_binary" --exact "$model" >"$target/weaken.log" 2>&1; then
                noticed=$model
                break
            fi
        done <<<"$order"
        ((++count))
        if [[ -z $noticed ]]; then ((++survivors)); fi
        printf '%-28s %s\n' "$label" "${noticed:-SURVIVES}"
    done
    note_result weaken "$count orderings left out, $((count - survivors)) noticed" "$( ((survivors)) && printf failed || printf passed)"
    ((survivors == 0))
}
