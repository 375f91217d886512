# shellcheck shell=bash
# shellcheck disable=SC2034 # what run.sh reads
#
# Sourced by run.sh: its flags. `parse_flags` fills `option` with what is said, and the lists of arguments with what
# the programs are to be told.

# Every flag: who takes it, its values (alternatives, a kind in capitals, or a range; `-` for none), and what it means. A line that
# begins with `=` is the heading of those that follow.
flags='
= What signs
--runtime           run       native|wasmtime|wasmi|wasm3     what runs the extensions [default: wasmtime]
--method            run       ecdsa|schnorr|random|null|0|1|2 how to sign: 0 schnorr, 1 ecdsa, 2 random; null only measures [default: ecdsa]
--runner            run       0|1|2|3                         the runtime by number: 0 wasmtime, 1 wasm3, 2 native; 3 swaps the module with the method
--compare           run       -                               every runtime with every method, side by side
--workers           signer    1..64                           processes that sign [default: 1]
--batch             signer    1..4096                         records to claim at once at most [default: 64]
--module            signer    NAME=PATH                       a wasm file in the place of the built-in module NAME: ecdsa, schnorr or null
--cache             signer    DIR                             folder for compiled modules, or none [default: ringseal in ~/.cache]
--verify-before-release signer -                          verify each signature before the consumer gets it
--key               run       FILE                            the secret key [default: a development key, made on first use]
--control           signer    DIR                             folder for signer ctl, which changes a running signer
--metrics           signer    ADDRESS                         serve metrics: 127.0.0.1:PORT or unix:PATH
= Messages
--messages          producer  NUMBER                          how many [default: 1024; all of --input]
--input             producer  FILE                            your messages instead, one a line: a file, or - for standard input
--rate              producer  PER_SECOND                      messages a second, each timed from when it was due [default: all the ring takes]
--size              producer  BYTES                           bytes of a generated message, or MIN..MAX to draw from [default: 64]
--seed              producer  NUMBER                          what generated messages and random methods are drawn from [default: 1]
--format            producer  lines|hex                       what a line of the input holds [default: lines]
--source            producer  NAME                            the name that the producer writes under [default: default]
--skip-oversize     producer  -                               leave out messages that are too long for the ring, and count them
= What verifies, and what is written
--out               run       DIR                             new or empty folder for the results [default: one in out/]
--verifier          consumer  secp256k1|k256|native|wasmtime|wasmi|wasm3|none who verifies; none only measures [default: secp256k1]
--verify-threads    consumer  1..64                           threads that verify [default: 1]
--public-key        consumer  HEX|FILE                        one more public key to trust; may be repeated
--encoding          consumer  hex|base64|der                  how signatures are written [default: hex]
--output            consumer  ndjson|none                     whether signatures are written; none only measures [default: ndjson]
--plots             run       svg|png                         each picture of the report as a file, too
= What a module may use
--limits            signer    FILE                            TOML file of limits: memory_mib, deadline_ms, stack_kib, module_kib, compile_seconds
--deadline          signer    20..3600000                     CPU time of an extension for a record, ms [default: 500]
= The ring
--capacity          ring      NUMBER                          slots: a power of two [default: 1024]
--message-capacity  ring      NUMBER                          bytes of message that a slot holds [default: 256]
--huge-pages        ring      -                               put the ring on huge pages, of 2 MiB each: it must be as long as one
--max-attempts      ring      1..15                           signers that may die with a record in hand before it fails [default: 3]
--wait              roles     spin|yield|block|adaptive       how all three wait for each other [default: adaptive]
--stall             roles     DECIMAL                         seconds without a move before they give up; 0 never [default: 60]
--cpu               roles     LIST                            run all three on these processors: 0 or 0,2 or 1-3
--prefault          roles     -                               map all of the ring before the first message
= What is said meanwhile
--progress          run       auto|none                       on a terminal, a line for each role while it runs [default: auto]
--quiet             roles     -                               nothing on standard error but errors; so does -q
--verbose           roles     -                               what is attached, compiled, swapped, restored; so does -v, and may be repeated
--log-format        roles     text|json                       messages on standard error: lines, or an object of JSON a line [default: text]
= Help
--help              run       -                               this text; so does -h'

declare -A taker=() values=() option=()
producer_args=() signer_args=() consumer_args=() ring_args=() roles_args=()

print_help() {
    local flag who legal text
    printf 'Signs messages in one process, verifies them in another, and measures both.\n\n'
    printf 'Usage: ./run.sh [FLAG [VALUE]]...\n'
    while read -r flag who legal text; do
        if [[ $flag == = ]]; then
            printf '\n%s:\n' "$who${legal:+ $legal}${text:+ $text}"
        else
            printf '  %s %s\n' "$flag" "${legal#-}"
            fold -s -w 70 <<<"$text" | sed 's/^/          /'
        fi
    done <<<"${flags#?}" | sed 's/ *$//'
    cat <<'END'

Examples:
  1,024 messages of 64 bytes, signed with ecdsa on wasmtime:
    ./run.sh
  A message a line, into a folder of yours:
    ./run.sh --input messages.txt --out results
  Latencies at 5,000 messages a second, natively:
    ./run.sh --runtime native --rate 5000 --messages 20000

Exit codes:
  0  done
  1  something failed or did not verify
  2  bad arguments or input
  3  environment: something is missing, or a process was killed
END
}

is_legal() { # FLAG VALUE
    case ${values[$1]} in
        NUMBER) [[ $2 =~ ^[0-9]{1,20}$ ]] ;;
        DECIMAL) [[ $2 =~ ^[0-9]{1,20}(\.[0-9]{1,9})?$ ]] ;;
        PER_SECOND) [[ $2 =~ ^[0-9]{1,20}(\.[0-9]{1,9})?$ && $2 =~ [1-9] ]] ;;
        BYTES) [[ $2 =~ ^[0-9]{1,7}(\.\.[0-9]{1,7})?$ ]] ;;
        [0-9]*..*) [[ $2 =~ ^[0-9]{1,9}$ ]] && ((10#$2 >= ${values[$1]%..*} && 10#$2 <= ${values[$1]#*..})) ;;
        [[:upper:]]*) [[ -n $2 ]] ;;
        *) [[ "|${values[$1]}|" == *"|$2|"* ]] ;;
    esac
}

# Names the flag that has the longest beginning in common with $1, if that is more than two letters.
resembling() {
    awk -v said="$1" '/^--/ {
        for (n = 0; n < length(said) && substr($1, n + 1, 1) == substr(said, n + 1, 1);) n++
        off = length($1) - length(said); off = off < 0 ? -off : off
        if (n > most || n == most && off < best_off) { most = n; best = $1; best_off = off }
    } END { if (most > 4) printf "did you mean %s? ", best }' <<<"$flags"
}

# What a flag takes, in words.
taken() { # FLAG
    case ${values[$1]} in
        NUMBER) echo 'a whole number' ;;
        DECIMAL) echo 'a number' ;;
        PER_SECOND) echo 'a number above 0' ;;
        BYTES) echo 'a number, or MIN..MAX' ;;
        [0-9]*..*) echo "a whole number from ${values[$1]%..*} to ${values[$1]#*..}" ;;
        *) echo "${values[$1]}" ;;
    esac
}

parse_flags() { # ARGUMENT...
    local flag who legal rest
    while read -r flag who legal rest; do
        [[ $flag != = ]] || continue
        taker[$flag]=$who values[$flag]=$legal option[$flag]=''
    done <<<"${flags#?}"
    while (($#)); do
        case $1 in
            -h) set -- --help "${@:2}" ;;
            -q) set -- --quiet "${@:2}" ;;
            -v) set -- --verbose "${@:2}" ;;
            -v*) set -- -v "-${1#-v}" "${@:2}" && continue ;;
        esac
        flag=${1%%=*}
        [[ -n $flag && -n ${taker[$flag]:-} ]] ||
            die 2 "unknown argument '$1'; $(resembling "$1")see --help; the flags are$(awk '/^--/ { printf " %s", $1 }' <<<"$flags")"
        if [[ ${values[$flag]} == - ]]; then
            [[ $1 == "$flag" ]] || die 2 "$flag takes no value"
            take "$flag"
        else
            [[ $1 == "$flag" ]] || set -- "$flag" "${1#*=}" "${@:2}"
            is_legal "$flag" "${2-}" || die 2 "$flag takes $(taken "$flag"), not '${2-}'"
            take "$flag" "$2"
            shift
        fi
        shift
    done
}

take() { # FLAG [VALUE]
    option[$1]=${2:-yes}
    if [[ ${taker[$1]} != run ]]; then
        local -n arguments=${taker[$1]}_args
        arguments+=("$@")
    fi
}
