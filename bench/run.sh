#!/usr/bin/env bash
# Measures Ringseal and its peers in one run: `bench/run.sh [GROUP...] [--short] [--out DIR]`, all groups by default: hop, sign,
# service, scale, engine. Builds what is missing. See README.md beside it.
set -euo pipefail
# shellcheck source=tools/build.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../tools/build.sh"

bench() { # CARGO_COMMAND ARGUMENT...
    cargo "$1" --release --locked --manifest-path "$root/bench/Cargo.toml" --target-dir "$target" "${@:2}"
}

out=$root/bench/results arguments=() programs=() short=''
while (($#)); do
    case $1 in
        --out)
            out=${2:?--out takes a folder}
            shift
            ;;
        --short) short=yes arguments+=(--short) ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
# Figures of the short form mean nothing, and are not kept with others.
if [[ -n $short && $out == "$root/bench/results" ]]; then out=$target/bench-short; fi

features=()
if find_wasm3; then features=(--features wasm3); else printf 'without wasm3: %s\n' "$no_wasm3" >&2; fi
build_programs "${programs[@]}"
bench build --bin ringseal-bench "${features[@]}"
# A build of its own, for a few crates only: native code without the SHA instructions, which WebAssembly hasn't either.
RUSTFLAGS='--cfg sha2_backend="soft"' cargo build --release --locked --manifest-path "$root/bench/Cargo.toml" \
    --target-dir "$target/soft-sha" --package bench-signing
# Nobody's flags but ours tell where the benchmarks were put.
mapfile -t benches < <(cargo bench --locked --manifest-path "$root/bench/Cargo.toml" --target-dir "$target" "${features[@]}" \
    --benches --no-run --message-format json | sed -nE '/"kind":\["bench"\]/s/.*"executable":"([^"]+)".*/\1/p')

exec "$bin/ringseal-bench" run "${arguments[@]}" --out "$out" --root "$root" --programs "$bin" \
    --soft "$target/soft-sha/release/native-signing" "${benches[@]/#/--criterion=}" \
    --build "release profile, no LTO, RUSTFLAGS '${RUSTFLAGS:-}', features '${features[*]}'"
