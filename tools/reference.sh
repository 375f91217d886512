#!/usr/bin/env bash
# Prints docs/reference/programs.md: what the programs' --help says. `tools/reference.sh >docs/reference/programs.md` after a
# flag has changed; ./test.sh help compares.
set -euo pipefail
# shellcheck source=tools/build.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/build.sh"

# Without a terminal, whose width the programs would fill.
# shellcheck disable=SC2016 # the backticks are Markdown
help_of() { # PROGRAM [SUBCOMMAND]...
    printf '\n%s `%s`\n\n```text\n' "$heading" "${*##*/}"
    env -u COLUMNS "$@" --help </dev/null 2>/dev/null | sed 's/ *$//'
    printf '```\n'
}

main() {
    local heading='##' subcommand
    cat <<'END'
# Every flag

What `--help` says, program by program; `-h` is shorter. The same as man pages, and completions for a shell:

```console as it changes your shell and your folders
source <(signer --generate complete-bash)
signer --generate man >~/.local/share/man/man1/signer.1
```
END
    help_of "$root/run.sh"
    for program in producer signer consumer ringctl; do
        heading='##' help_of "$bin/$program"
        # The subcommands, as the program lists them.
        env -u COLUMNS "$bin/$program" --help </dev/null 2>/dev/null |
            sed -n '/^Commands:/,/^$/ s/^  \([a-z-]\+\) .*/\1/p' | while read -r subcommand; do
            [[ $subcommand != help ]] || continue
            heading='###' help_of "$bin/$program" "$subcommand"
            case $program-$subcommand in
                signer-ctl) nested=(swap limits rotate) ;;
                signer-cache) nested=(list clear warm) ;;
                *) nested=() ;;
            esac
            for below in "${nested[@]}"; do
                heading='####' help_of "$bin/$program" "$subcommand" "$below"
            done
        done
    done
}

main
