# shellcheck shell=bash
# shellcheck disable=SC2034 # what run.sh reads
#
# Sourced by run.sh: its flags. `parse_flags` fills `option` with what is said, and the lists of arguments with what
# the programs are to be told.

# Every flag: who takes it, its values (alternatives, or a kind in capitals; `-` for none), and what it means.
flags='
--runtime           run       native|wasmtime|wasmi|wasm3     what signs (wasmtime)
--method            run       ecdsa|schnorr|random|null|0|1|2 0 schnorr, 1 ecdsa (default), 2 random
--runner            run       0|1|2|3                         0 wasmtime, 1 wasm3, 2 native; 3 swaps the module
--compare           run       -                               every runtime with every method, side by side
--messages          producer  NUMBER                          how many to generate (1024)
--input             producer  TEXT                            or real ones, one a line: a file, - for standard input
--rate              producer  DECIMAL                         messages a second, timed from when due (all it can)
--size              producer  TEXT                            bytes of a generated message, or MIN..MAX
--seed              producer  NUMBER                          what messages and random methods are drawn from
--format            producer  lines|hex                       of the input
--source            producer  TEXT                            the name that the producer writes under
--skip-oversize     producer  -                               count messages too long for the ring, and go on
--workers           signer    NUMBER                          signing processes
--batch             signer    NUMBER                          records claimed at a time
--module            signer    TEXT                            NAME=PATH: wasm in place of a built-in module
--public-key        consumer  TEXT                            one more key to trust, HEX or a file; may be repeated
--verify-before-release signer -                          verify natively before the consumer gets it
--control           signer    TEXT                            folder for signer ctl, which changes a running signer
--limits            signer    TEXT                            TOML file: what a module may use
--deadline          signer    NUMBER                          CPU time that a module may take for a message, in ms (500)
--cache             signer    TEXT                            folder for compiled modules, or none
--verifier          consumer  secp256k1|k256|native|wasmtime|wasmi|wasm3|none
--verify-threads    consumer  NUMBER                          threads that verify
--encoding          consumer  hex|base64|der                  of the signatures written
--output            consumer  ndjson|none                     none only measures
--capacity          ring      NUMBER                          slots
--message-capacity  ring      NUMBER                          bytes of message that a slot holds
--max-attempts      ring      NUMBER                          tries before a record is answered as failed
--wait              roles     spin|yield|block|adaptive       how all three wait for each other
--cpu               roles     TEXT                            run all three on these processors: 0 or 0,2 or 1-3
--prefault          roles     -                               map all of the ring before the first message
--stall             roles     DECIMAL                         seconds without a move before they give up; 0 never (60)
--key               run       TEXT                            secret key (a development key, made on first use)
--out               run       TEXT                            new or empty folder for the results (one in out/)
--plots             run       svg|png                         each picture of the report as a file, too
--help              run       -                               this text'

declare -A taker=() values=() option=()
producer_args=() signer_args=() consumer_args=() ring_args=() roles_args=()

print_help() {
    local flag who legal text
    printf 'Signs messages in one process, verifies them in another, and measures both.\n\n'
    while read -r flag who legal text; do
        printf '  %-23s %-31s %s\n' "$flag" "${legal#-}" "$text"
    done <<<"${flags#?}"
    printf '\nExit codes: 0 done; 1 something failed or did not verify; 2 bad arguments or input; 3 environment.\n'
}

is_legal() { # FLAG VALUE
    case ${values[$1]} in
        TEXT) [[ -n $2 ]] ;;
        NUMBER) [[ $2 =~ ^[0-9]{1,20}$ ]] ;;
        DECIMAL) [[ $2 =~ ^[0-9]{1,20}(\.[0-9]{1,9})?$ ]] ;;
        *) [[ "|${values[$1]}|" == *"|$2|"* ]] ;;
    esac
}

parse_flags() { # ARGUMENT...
    local flag who legal rest
    while read -r flag who legal rest; do
        taker[$flag]=$who values[$flag]=$legal option[$flag]=''
    done <<<"${flags#?}"
    while (($#)); do
        flag=${1%%=*}
        [[ -n $flag && -n ${taker[$flag]:-} ]] ||
            die 2 "unknown argument '$1'; the flags are$(awk 'NF { printf " %s", $1 }' <<<"$flags")"
        if [[ ${values[$flag]} == - ]]; then
            [[ $1 == "$flag" ]] || die 2 "$flag takes no value"
            take "$flag"
        else
            [[ $1 == "$flag" ]] || set -- "$flag" "${1#*=}" "${@:2}"
            is_legal "$flag" "${2-}" || die 2 "$flag takes ${values[$flag]}, not '${2-}'"
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
