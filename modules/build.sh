#!/usr/bin/env bash
# Builds the guest modules, every scheme in every variant, bakes their tables into them, and writes them with their
# manifest.toml into ../bins.
#
#   build.sh [--out DIR]           build into DIR
#   build.sh [--out DIR] --check   only compare DIR with the sources: needs no toolchain; exit 1 if they differ
#
# Exit 2: wrong usage. Exit 3: no toolchain that makes WebAssembly.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
schemes=(ecdsa schnorr null)
variants=(base wide)
target=wasm32v1-none

fail() { # code, words
    echo "build.sh: $2" >&2
    exit "$1"
}

# The digest of the sources, which ties bins/ to them. Whoever computes it elsewhere (a test does) follows this recipe:
#   1. take every file below modules/ named *.rs, *.toml, Cargo.lock or build.sh, but nothing in a folder `target`;
#   2. sort their paths, relative to modules/ and with `/`, bytewise;
#   3. for each write a line: the file's SHA-256 in lower-case hex, two spaces, the path, a newline;
#   4. the digest is the SHA-256 of those lines, in lower-case hex.
sources_sha256() {
    (
        cd "$here"
        find . -name target -prune -o -type f \
            \( -name '*.rs' -o -name '*.toml' -o -name Cargo.lock -o -name build.sh \) -printf '%P\0' |
            LC_ALL=C sort -z | xargs -0 sha256sum | sha256
    )
}

sha256() { # of standard input
    sha256sum | cut -d ' ' -f 1
}

# Compares what the manifest says with the sources and the files.
check() {
    local manifest=$out/manifest.toml key value file='' sources
    [[ -f $manifest ]] || fail 1 "$manifest doesn't exist: run modules/build.sh"
    sources=$(sources_sha256)
    while read -r key value; do
        value=${value#= \"} value=${value%\"}
        case $key in
        file) file=$out/$value ;;
        sha256)
            [[ -f $file && $(sha256 <"$file") == "$value" ]] ||
                fail 1 "$file isn't the file of the manifest: run modules/build.sh"
            ;;
        sources_sha256)
            [[ $value == "$sources" ]] ||
                fail 1 "$file was built from other sources ($value) than these ($sources): run modules/build.sh"
            ;;
        esac
    done <"$manifest"
    [[ -n $file ]] || fail 1 "$manifest lists no module: run modules/build.sh"
    echo "$out matches the sources ($sources)"
}

# Sets rustc, cargo and build_std: a toolchain with a ready-made library for the target, else one with the library's
# source. The library of wasm32-unknown-unknown won't do: it is made with features that `base` must not have.
find_toolchain() {
    for rustc in rustc /usr/bin/rustc; do
        rustc=$(command -v "$rustc") || continue
        cargo=$(dirname "$rustc")/cargo
        [[ -x $cargo ]] || continue
        build_std=()
        [[ -d $("$rustc" --print target-libdir --target $target 2>/dev/null) ]] && return
        library=$("$rustc" --print sysroot)/lib/rustlib/src/rust/library
        if [[ -f $library/Cargo.lock ]]; then
            build_std=(-Zbuild-std=core)
            export RUSTC_BOOTSTRAP=1
            find_linker
            return
        fi
    done
    fail 3 "no Rust toolchain here makes WebAssembly. Install one: \`rustup target add $target\`, or Debian's \
rustc-web, cargo-web, rust-web-src, rust-web-llvm and the lld that the last one points to"
}

# A toolchain without the target may lack its linker too; any lld will do.
find_linker() {
    local linker host
    host=$("$rustc" --version --verbose | sed -n 's/^host: //p')
    for linker in "$(rustc --print sysroot)/lib/rustlib/$host/bin/rust-lld" rust-lld wasm-ld lld; do
        if linker=$(command -v "$linker"); then
            export CARGO_TARGET_WASM32V1_NONE_LINKER=$linker
            return
        fi
    done
    fail 3 "no lld here to link WebAssembly: install the one that rust-web-llvm's rust-lld points to"
}

# The compiler's flags of a variant, one a line. `base` is WebAssembly 1.0, for which 32-bit limbs are fastest; `wide`
# multiplies 64-bit limbs by one instruction.
flags() { # variant
    echo -Ctarget-cpu=mvp
    case $1 in
    base) printf '%s\n' --cfg 'cpubits="32"' ;;
    wide)
        local features=(sign-ext bulk-memory simd128 wide-arithmetic)
        printf -- '-Ctarget-feature=%s\n' "$(printf ',+%s' "${features[@]}" | cut -c 2-)"
        ;;
    esac
    # Loops without a check of the epoch in each round, and instructions in the order of the source instead of the one that is good
    # for a machine with few registers: together they are worth 5 % of a signature on wasmtime.
    printf -- '-Cllvm-args=%s\n' -unroll-threshold=3000 -pre-RA-sched=source
    # Building the table, which `bake` has a module do, takes 97 KiB of stack; with LLVM's 1 MiB each instance would be
    # four times as big.
    echo -Clink-arg=-zstack-size=131072
    # No path of this machine gets into a module.
    printf -- '--remap-path-prefix=%s\n' "$here=modules" "${CARGO_HOME:-$HOME/.cargo}=cargo" \
        "$("$rustc" --print sysroot)=rust"
}

build_module() { # scheme, variant
    CARGO_ENCODED_RUSTFLAGS=$(flags "$2" | paste -s -d $'\x1f') RUSTC=$rustc \
        "$cargo" rustc --locked --quiet --release --manifest-path "$here/Cargo.toml" --package "$1-module" \
        --crate-type cdylib --target $target "${build_std[@]}" --target-dir "$here/target/guest/$2"
    bake "$here/target/guest/$2/$target/release/$1_module.wasm" "$new/$1.$2.wasm"
}

# Runs the module's WasmInit, once and for all: see bake/. The toolchain and the runtime are the programs', and not in the
# digest of the sources: what a module computes is the same wherever it runs.
bake() { # from, to
    "$bake_target/release/bake" "$@"
}

# The whole workspace has to be named for the tool's dependencies to be those of the programs, built once for both.
build_bake() {
    bake_target=${CARGO_TARGET_DIR:-$here/../target}
    env -u RUSTC_BOOTSTRAP cargo build --locked --quiet --release --manifest-path "$here/../Cargo.toml" \
        --target-dir "$bake_target" --workspace --bin bake
}

describe_module() { # scheme, variant
    local -A algorithm=([ecdsa]=ecdsa-secp256k1-sha256 [schnorr]=bip340 [null]=none)
    cat <<END

[[module]]
name = "$1"
scheme = "${algorithm[$1]}"
variant = "$2"
abi = "1.0"
file = "$1.$2.wasm"
sha256 = "$(sha256 <"$new/$1.$2.wasm")"
sources_sha256 = "$sources"
toolchain = "$("$rustc" --version)"
END
}

build() {
    find_toolchain
    build_bake || fail 1 "the tool that bakes modules, $here/bake, doesn't build"
    mkdir -p "$out"
    new=$(mktemp -d "$out/.new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    local scheme variant sources
    sources=$(sources_sha256)
    echo "# Written by modules/build.sh." >"$new/manifest.toml"
    for scheme in "${schemes[@]}"; do
        for variant in "${variants[@]}"; do
            build_module "$scheme" "$variant"
            describe_module "$scheme" "$variant" >>"$new/manifest.toml"
        done
    done
    chmod 644 "$new"/*
    mv "$new"/* "$out"
    echo "$out: ${#schemes[@]} modules, ${#variants[@]} variants each, with $("$rustc" --version)"
}

out=$(dirname "$here")/bins
action=build
while (($#)); do
    case $1 in
    --out)
        (($# > 1)) || fail 2 "--out needs a folder"
        out=$2
        shift 2
        ;;
    --check)
        action=check
        shift
        ;;
    *) fail 2 "unknown argument '$1': legal are --out DIR and --check" ;;
    esac
done
$action
