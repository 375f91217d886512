# shellcheck shell=bash
# shellcheck disable=SC2154 # tools/build.sh and tools/e2e.sh, which test.sh sources as well, set them
#
# Sourced by test.sh: its steps over what users read, on the page and in the terminal.

# --- the commands of README.md and docs/

# Every block ```sh of every page is run as it stands there, the blocks of a page one after the other in one shell and one
# folder. What can't be run stands in a block ```console with the reason behind it; a page that needs a toolchain says so.
step_commands() {
    local page count began blocks=0 pages=0 others reason
    enter_work_folder
    others=$(grep -n '^```console' README.md docs/*.md docs/*/*.md)
    check 'a block that is not run says why' same "$(grep -E '```console *$' <<<"$others")" ''
    check 'each block says what it is: sh, console, or something that is no command' same "$(odd_blocks)" ''
    for page in README.md docs/*.md docs/*/*.md; do
        count=$(grep -c '^```sh$' "$page") || continue
        if grep -q '^<!-- needs: wasm32v1-none -->$' "$page"; then
            if ! wasm_toolchain >"$work/toolchain"; then
                printf 'not run: %s, for no Rust toolchain here makes WebAssembly\n' "$page"
                continue
            fi
        else
            : >"$work/toolchain"
        fi
        began=$SECONDS
        run_page "$page"
        check "$page: every block, $((SECONDS - began)) s" same "$(wc -l <"$work/done")" "$count"
        check_outcome "$page" "$work/${page//\//-}"
        ((++pages, blocks += $(wc -l <"$work/done")))
    done
    if [[ -n $others ]]; then
        printf 'not run, each for the reason that stands there: %s blocks\n' "$(wc -l <<<"$others")"
        while IFS=: read -r page _ reason; do
            printf '    %s: %s\n' "$page" "${reason#\`\`\`console }"
        done <<<"$others"
    fi
    verdict && printf '%d blocks of %d pages\n' "$blocks" "$pages"
}

# What the commands of a page must have come to, where that is more than having ended well.
check_outcome() { # PAGE FOLDER
    case $1 in
        README.md)
            check_run "$1: its input" "$2/results" 500
            check "$1: by hand" same "$(verified_in "$2/by-hand")" 1024
            check 'docs/reference/files.md has every field of what a run leaves' same "$(fields_without_a_word "$2/results")" ''
            ;;
        docs/how-to/swap-a-module.md)
            check "$1: signed" same "$(verified_in "$2/live")" 4000
            check "$1: swapped" grep -q '"generation":2' "$2/live/signatures.ndjson"
            ;;
        docs/how-to/operate-and-recover.md)
            check "$1: each message once" same "$(verified_in "$2/live")" 5000
            check "$1: in order" same "$(gaps_of "$2/live")" ''
            ;;
    esac
}

# Prints the fields of the JSON files in FOLDER that docs/reference/files.md doesn't name.
fields_without_a_word() { # FOLDER
    local field
    for field in $(head -qn 200 "$1"/{summary,signer,producer}.json "$1/signatures.ndjson" | grep -oE '"[a-z0-9_]+":' | sort -u | tr -d '":'); do
        grep -qF "\`$field\`" docs/reference/files.md || printf '%s ' "$field"
    done
}

verified_in() { grep -c '"verified":true' "$1/signatures.ndjson"; }

# Prints the openings of blocks that would be left out in silence: of another shell, without a word, or indented.
odd_blocks() {
    awk '
        /^```./ && !inside { inside = 1; if (/^```(bash|shell|zsh|sh .*)$/) print FILENAME ":" FNR ":" $0; next }
        /^```$/ { if (!inside) print FILENAME ":" FNR ":" $0; inside = !inside; next }
        /^ +```/ { print FILENAME ":" FNR ":" $0 }' README.md docs/*.md docs/*/*.md
}

# Runs the blocks of PAGE in a checkout of their own, with a place for rings of their own. Each block that came to its end is a
# line of $work/done.
run_page() { # PAGE
    local shm name=${1//\//-}
    shm=$(mktemp -d /dev/shm/ringseal-docs-XXXXXX) || return
    make_checkout "$work/$name"
    {
        cat "$work/toolchain"
        blocks_of "$1" | sed "s|/dev/shm/|$shm/|g"
    } >"$work/script"
    : >"$work/done"
    cd "$work/$name" || return
    PATH=$work/$name/.cargo-shim:$PATH block_done=$work/done expect "$1" 0 '.*' bash -e "$work/script"
    ((failures == 0)) || sed 's/^/        /' "$work/stdout" | tail -n 5
    check_nothing_left "$1"
    cd "$root" || return
    check "$1: nothing is left in /dev/shm" rmdir "$shm"
}

# A folder that looks like a fresh clone in which the programs have been built. Cargo would build them anew in another folder.
make_checkout() { # FOLDER
    mkdir -p "$1/.cargo-shim" && ln -s "$root"/* "$1/" || return
    rm -f "$1/out" "$1/target" && ln -s "$target" "$1/target" || return
    cat >"$1/.cargo-shim/cargo" <<SHIM
#!/bin/sh
if [ "\$PWD" = "$1" ] && [ "\$1 \$2 \$3" = 'build --release --locked' ]; then exit 0; fi
PATH=\${PATH#"$1/.cargo-shim:"}
export PATH
exec "\${CARGO:-cargo}" "\$@"
SHIM
    chmod +x "$1/.cargo-shim/cargo"
}

# The blocks ```sh of PAGE as one script, which says where it is and notes each block that came to its end.
# shellcheck disable=SC2016 # the script's own variables
blocks_of() { # PAGE
    awk -v page="$1" '
        /^```sh$/ { inside = 1; printf "echo \"--- %s:%d\" >&2\n", page, NR; next }
        inside && /^```$/ { inside = 0; printf "echo \"%s:%d\" >>\"$block_done\"\n", page, NR; next }
        inside { print }' "$1"
}

# Prints the settings with which `cargo build --target wasm32v1-none` works here: none where the target is installed; those for
# a toolchain that has the library's source alone, as modules/build.sh finds it. False if there is neither.
wasm_toolchain() {
    [[ ! -d $(rustc --print target-libdir --target wasm32v1-none 2>/dev/null) ]] || return 0
    (
        # shellcheck disable=SC1090 # its functions alone
        source <(sed '/^out=/,$d' modules/build.sh) && find_toolchain
        printf 'export RUSTC=%q CARGO=%q RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=core\n' "$rustc" "$cargo"
        printf 'export CARGO_TARGET_WASM32V1_NONE_LINKER=%q\n' "$CARGO_TARGET_WASM32V1_NONE_LINKER"
    ) 2>/dev/null
}

# --- what the programs say of themselves

step_help() {
    local program shell flag
    enter_work_folder
    check 'run.sh: 80 columns' same "$(./run.sh --help | wide_lines)" ''
    check 'run.sh: -h' same "$(./run.sh -h)" "$(./run.sh --help)"
    for program in producer signer consumer ringctl; do
        "$bin/$program" -h >"$work/short" && "$bin/$program" --help >"$work/long" || return
        check "$program: 80 columns" same "$(wide_lines <"$work/long")$(wide_lines <"$work/short")" ''
        check "$program: --help says more than -h" test "$(wc -l <"$work/long")" -gt "$(wc -l <"$work/short")"
        check "$program: examples" grep -q '^Examples:$' "$work/long"
        check "$program: exit codes" grep -q '^Exit codes:$' "$work/long"
        "$bin/$program" --generate man >"$work/$program.1" || return
        check_man_page "$program"
        for shell in bash zsh fish; do
            "$bin/$program" "--generate=complete-$shell" >"$work/$program.$shell" || return
            ! have "$shell" || check "$program: $shell takes its completions" "$shell" -n "$work/$program.$shell"
        done
        expect "$program: what can't be generated" 2 'complete-bash' "$bin/$program" --generate pdf
        expect "$program: --generate | head" 0 '' bash -o pipefail -c "'$bin/$program' --generate man | head -n 1"
        expect "$program: --help | head" 0 '' bash -o pipefail -c "'$bin/$program' --help | head -n 1"
    done
    check 'bash completes a flag' same "$(completed signer --run)" '--runtime --runner'
    check 'bash completes a value' same "$(completed signer --runtime wasmt)" wasmtime
    check 'bash completes a subcommand' same "$(completed signer ct)" ctl
    check 'bash offers nothing that is hidden' same "$(completed signer work)" ''
    for flag in ring wait stall cpu prefault; do
        check "--$flag: the same words in each role" same \
            "$(for program in producer signer consumer; do text_of "$program" "$flag"; done | sort -u | wc -l)" 1
    done
    check 'docs/reference/programs.md is what the programs say: tools/reference.sh >docs/reference/programs.md' \
        diff <(tools/reference.sh) docs/reference/programs.md
    verdict
}

wide_lines() { LC_ALL=C.UTF-8 grep -E '.{81}'; }

check_man_page() { # PROGRAM
    local lint=() said
    if have groff; then lint+=("groff -K utf8 -ww -z -man"); fi
    if have mandoc; then lint+=("mandoc -T lint -W error"); fi
    for lint in "${lint[@]}"; do
        # shellcheck disable=SC2086 # a command and its arguments
        said=$($lint "$work/$1.1" 2>&1)
        check "$1: ${lint%% *} finds no fault in its man page" same "$said" ''
    done
    for said in NAME SYNOPSIS DESCRIPTION EXAMPLES 'EXIT CODES'; do
        check "$1: its man page has $said" grep -qxE "\.SH \"?$said\"?" "$work/$1.1"
    done
}

# What bash offers for the last of these WORDS.
completed() { # PROGRAM WORD...
    bash -c '
        source "$1" && shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "_$1" "$1" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[*]}"' bash "$work/$1.bash" "$@"
}

# What the long help of PROGRAM says of FLAG.
text_of() { # PROGRAM FLAG
    "$bin/$1" --help | awk -v flag="--$2" '$1 == flag { on = 1 } on && /^ *-/ && $1 != flag || /^[A-Z]/ { on = 0 } on' |
        tr -s ' \n' ' '
    echo
}
