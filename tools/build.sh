# shellcheck shell=bash
# Sourced by run.sh and test.sh: where the build goes, and how to have wasm3 in it.
#
# The bindgen of the wasm3 crate (0.59) works with libclang 11 to 15 and panics with 16 and newer, which is what newer
# systems carry. So libclang is looked for by version, and fetched from PyPI where there is none.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -ms -- "${CARGO_TARGET_DIR:-$root/target}")
export CARGO_TARGET_DIR=$target
# shellcheck disable=SC2034 # used where this is sourced
bin=$target/release
# shellcheck disable=SC2034 # used where this is sourced
no_wasm3='needs libclang 11 to 15 to build: install libclang-14-dev or python3-pip, or set LIBCLANG_PATH'

# Prints the usable libclang that is, or lies in, $1.
usable_libclang() {
    local file
    for file in "$1" "$1"/libclang.so* "$1"/libclang-[0-9]*.so*; do
        if [[ -f $file && -r $file ]] && grep -aqE ' version 1[1-5]\.[0-9]+\.[0-9]+' "$file"; then
            printf '%s\n' "$file"
            return
        fi
    done
    return 1
}

# Prints the usable libclang of this machine: the caller's choice first, then what LLVM says, then the usual places.
installed_libclang() {
    local config place
    local places=(${LIBCLANG_PATH:+"$LIBCLANG_PATH"})
    for config in llvm-config llvm-config-{14,15,13,12,11}; do
        place=$("$config" --libdir 2>/dev/null) && places+=("$place")
    done
    places+=(/usr/lib/llvm-{14,15,13,12,11}/lib /usr/lib64/llvm{14,15,13,12,11}/lib)
    places+=(/usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib)
    for place in "${places[@]}"; do
        usable_libclang "$place" && return
    done
    return 1
}

# Prints PyPI's libclang 14.0.6, fetched into folder $1 unless it is there. A failure is remembered for an hour.
fetched_libclang() {
    local library=$1/clang/native/libclang.so failed=$1/failed
    if [[ ! -f $library ]]; then
        [[ -z $(find "$failed" -mmin -60 2>/dev/null) ]] || return 1
        mkdir -p "$1"
        timeout 120 python3 -m pip install --no-input --disable-pip-version-check --timeout 10 --retries 0 --no-deps \
            --only-binary :all: --upgrade --target "$1" --require-hashes -r /dev/stdin >"$1/log" 2>&1 <<'WHEEL' || {
libclang==14.0.6 \
  --hash=sha256:206d2789e4450a37d054e63b70451a6fc1873466397443fa13de2b3d4adb2796 \
  --hash=sha256:e2add1703129b2abe066fb1890afa880870a89fd6ab4ec5d2a7a8dc8d271677e
WHEEL
            touch "$failed"
            return 1
        }
    fi
    usable_libclang "$library"
}

# Cargo's arguments for having wasm3, if it can be had.
wasm3=()

# Sets them, and lets the build find libclang. False when there is no usable one.
find_wasm3() {
    local library
    library=$(installed_libclang || fetched_libclang "$target/libclang") || return
    wasm3=(--features 'signer/wasm3 consumer/wasm3')
    export LIBCLANG_PATH=$library
    # A libclang without headers of its own (the wheel, a runtime package) takes the C compiler's.
    export BINDGEN_EXTRA_CLANG_ARGS=${BINDGEN_EXTRA_CLANG_ARGS:-"-idirafter $(cc -print-file-name=include)"}
}

build_programs() { # CARGO_ARGUMENT..., -p for more than what users need
    (cd "$root" && cargo build --release --locked "${wasm3[@]}" "$@")
}
