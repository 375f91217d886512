# shellcheck shell=bash
# shellcheck disable=SC2154 # tools/build.sh and test.sh, which sources this, set them
#
# Sourced by test.sh: its step over a signer's metrics. The three programs run; curl is the monitoring system, and Prometheus's own
# tool judges what it gets.

# Sets `reader`: what reads a page of metrics on its standard input, and fails if there is anything wrong with it.
find_metrics_reader() {
    local venv=$target/readers/metrics readers=signer/tests/readers
    reader=(promtool check metrics)
    if have promtool; then return; fi
    reader=("$venv/bin/python" "$readers/read.py")
    [[ -x $venv/bin/pip ]] || python3 -m venv "$venv" || skip 'neither promtool (prometheus) nor python3-venv is installed'
    fetch "$venv/bin/pip" install --disable-pip-version-check --timeout 15 -r "$readers/requirements.txt" ||
        skip "promtool is not installed, and the packages of $readers/requirements.txt can't be had from PyPI"
}

scrape() { curl -sS --fail --max-time 10 "$url/metrics" >"$work/scrape"; }

# Prints the sum of a metric's series in the last scrape; of those with LABEL in them.
metric() { # NAME [LABEL]
    awk -v name="ringseal_signer_$1" -v label="${2-}" \
        '{ series = $1; sub(/{.*/, "", series) } series == name && index($1, label) { sum += $NF } END { printf "%.0f\n", sum }' \
        "$work/scrape"
}

# Prints the status of a page, which is then in $work/page.
status_of() { # CURL_ARGUMENT...
    curl -s -o "$work/page" -w '%{http_code}' --max-time 10 "$@"
}

# Waits until a condition holds.
await() { # COMMAND...
    for _ in {1..600}; do
        if "$@"; then return; fi
        sleep 0.05
    done
    return 1
}

is_ready() { [[ $(status_of "$url/readyz") == 200 ]]; }
has_counted() { scrape && (($(metric sign_seconds_count) >= $1)); } # RECORDS
has_restarted() { scrape && (($(metric worker_restarts_total) == 1 && $(metric workers_ready) == 2)); }

# Everything has been signed: what is counted adds up.
check_metrics() { # CASE RECORDS
    local stage
    check "$1: all are counted" await has_counted "$2"
    check "$1: signed" same "$(metric records_total 'status="signed"')" "$2"
    check "$1: nothing else" same "$(metric records_total)" "$2"
    for stage in queue sign; do
        check "$1: $stage, count" same "$(metric ${stage}_seconds_count)" "$2"
        check "$1: $stage, last bucket" same "$(metric ${stage}_seconds_bucket 'le="+Inf"')" "$2"
        check "$1: $stage, buckets are cumulated" same "$(awk '{ print $1, $NF }' "$work/scrape" | grep "_${stage}_seconds_bucket" |
            awk '{ split($1, of, ",le") } of[1] == before && $2 < count { print } { before = of[1]; count = $2 }')" ''
    done
    check "$1: read by ${reader[0]##*/}" "${reader[@]}" <"$work/scrape"
}

# Names in the order of the page, which are those of the reference.
check_reference() {
    # shellcheck disable=SC2016 # these backticks are the page's
    sed -n 's/^| `\([a-z_]*\)` | \(counter\|gauge\|histogram\) .*/ringseal_signer_\1 \2/p' docs/reference/metrics.md | sort >"$work/documented"
    sed -n 's/^# TYPE //p' "$work/scrape" | sort >"$work/served"
    check 'docs/reference/metrics.md lists what is served' diff "$work/documented" "$work/served"
}

# Clients that nobody would want. Their connections stay open.
be_hostile() {
    local port=${url##*:} fd
    for _ in {1..200}; do exec {fd}<>"/dev/tcp/127.0.0.1/$port"; done
    exec {fd}<>"/dev/tcp/127.0.0.1/$port" && printf 'GET /metr' >&"$fd"
    { printf 'X: ' && head -c 1048576 /dev/zero | tr '\0' x; } >"$work/header"
    check 'a header of 1 MiB' grep -qxE '431|000' <(status_of -H "@$work/header" "$url/metrics")
    check 'a page that there is not' same "$(status_of "$url/metric")" 404
    check 'another method' same "$(status_of -X POST "$url/metrics")" 405
    check 'HEAD' same "$(status_of --head "$url/metrics")" 200
    check 'who asks properly is answered' scrape
}

step_metrics() {
    local reader url ring key public_key producer
    have curl || skip 'curl is not installed'
    find_metrics_reader
    enter_work_folder
    ring=$XDG_RUNTIME_DIR/ring key=$work/key.pem
    "$bin/signer" keygen "$key" >"$work/stdout" && public_key=$("$bin/signer" public-key --key "$key") || return
    "$bin/ringctl" create "$ring" >"$work/stdout" || return
    expect 'not for other machines' 2 'not authenticated' "$bin/signer" --ring "$ring" --key "$key" --metrics 0.0.0.0:9464
    "$bin/consumer" --ring "$ring" --out "$work/run" --public-key "$public_key" >"$work/stdout" &
    # Without a cache it takes workers some time to be ready.
    "$bin/signer" --ring "$ring" --key "$key" --workers 2 --cache none --metrics 127.0.0.1:0 2>"$work/signer" &
    check 'the port is said' await grep -q 'metrics are at http://127.0.0.1:[0-9]*/metrics' "$work/signer"
    url=$(sed -n 's/.*\(http:.*\)\/metrics$/\1/p' "$work/signer")
    check 'not ready at once' same "$(status_of "$url/readyz")" 503
    check 'which has a reason' grep -q 'none of 2 workers is ready yet' "$work/page"
    check 'but healthy' same "$(status_of "$url/healthz")" 200
    check 'ready in the end' await is_ready
    expect 'a port that is taken' 3 'choose another port' "$bin/signer" --ring "$ring" --key "$key" --metrics "${url#http://}"

    "$bin/producer" --ring "$ring" --source first --method random --rate 4000 --messages 6000 >"$work/stdout" &
    producer=$!
    check 'scraped while records flow' await has_counted 1000
    check "read by ${reader[0]##*/} meanwhile" "${reader[@]}" <"$work/scrape"
    check 'not all are signed yet' test "$(metric records_total)" -lt 6000
    be_hostile
    wait "$producer"
    check_metrics 'after it' 6000
    check_reference

    kill -KILL "$(processes | awk -v worker="signer worker" 'index($0, worker) { print $1; exit }')"
    check 'a worker is killed, and there is another one' await has_restarted
    check 'its death is counted' same "$(metric worker_deaths_total 'reason="sigkill"')" 1
    "$bin/producer" --ring "$ring" --source second --method random --rate 4000 --messages 2000 >"$work/stdout"
    check_metrics 'after a death' 8000
    "$bin/ringctl" close "$ring" >"$work/stdout"
    wait
    check 'all are verified' same "$(grep -c '"verified": *true' "$work/run/signatures.ndjson")" 8000
    check 'nobody serves any more' same "$(status_of "$url/metrics")" 000
    "$bin/ringctl" rm "$ring" >"$work/stdout"
    over_a_socket
    expect 'run.sh passes it on' 0 'metrics are at http://127.0.0.1' ./run.sh --messages 10 --metrics 127.0.0.1:0 --out "$work/passed"
    check_nothing_left 'metrics'
    verdict
}

over_a_socket() {
    local ring socket=$work/metrics/socket
    new_ring >"$work/stdout"
    "$bin/signer" --ring "$ring" --key "$key" --runtime native --metrics "unix:$socket" &
    check 'a socket' await test -S "$socket"
    check 'a socket: is private' same "$(stat -c %a "$work/metrics" "$socket")" $'700\n600'
    check 'a socket: health' same "$(status_of --unix-socket "$socket" http://localhost/healthz)" 200
    check 'a socket: metrics' same "$(status_of --unix-socket "$socket" http://localhost/metrics)" 200
    check "a socket: read by ${reader[0]##*/}" "${reader[@]}" <"$work/page"
    "$bin/ringctl" close "$ring" >"$work/stdout"
    wait
    check 'a socket: goes with the signer' test ! -e "$socket"
}
