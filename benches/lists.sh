#!/usr/bin/env bash
# How long the list of images takes with a thousand and with a million images, on SQLite and on PostgreSQL with a new server's settings.
#
# Each view (first page, deep page, each filter, each order, searches, combinations) is asked for by 32 connections as ten administrators.
# Prints for each its median and 99th percentile in milliseconds (medians of several runs), requests per second and what it is of the same
# at a thousand images; fails above the limits: 99th percentile 50 ms, 1.5 times (a search: 3 times), 2,000 first pages a second on SQLite,
# two seconds from the start until it is ready.
#
#   benches/lists.sh [sqlite] [postgres]
#
#   VMIMG_BENCH_RUNS=3 VMIMG_BENCH_SECONDS=2 VMIMG_BENCH_IMAGES=1000000 VMIMG_BENCH_FOLDER=somewhere
#   VMIMG_BENCH_VIEWS=regular-expression    only these views
#   VMIMG_BENCH_KEEP=folder                 goes on with what an earlier run seeded there
#   VMIMG_BENCH_POSTGRES=postgres://…/      this server instead of one of its own
#   VMIMG_BENCH_ENCODING='gzip, br'         asks for compressed pages
#   VMIMG_BENCH_COUNT_ONLY=1                prints, but holds against no limit
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${VMIMG_BENCH_RUNS:-3}
seconds=${VMIMG_BENCH_SECONDS:-2}
many=${VMIMG_BENCH_IMAGES:-1000000}
few=1000
binary=$(realpath "${VMIMG_BINARY:-${CARGO_TARGET_DIR:-target}/release/vmimg}")
password='correct horse battery'
databases=("$@")
[ ${#databases[@]} -gt 0 ] || databases=(sqlite postgres)
mkdir -p "${VMIMG_BENCH_FOLDER:-target}"
if [ -n "${VMIMG_BENCH_KEEP:-}" ]; then
    mkdir -p "$VMIMG_BENCH_KEEP"
    work=$(realpath "$VMIMG_BENCH_KEEP")
else
    work=$(mktemp -d "$(realpath "${VMIMG_BENCH_FOLDER:-target}")/lists.XXXXXX")
fi
servers=()

# A PostgreSQL with the settings that a new server has: its own, unless one is named.
if [[ " ${databases[*]} " == *" postgres "* ]] && [ -z "${VMIMG_BENCH_POSTGRES:-}" ]; then
    exec tests/tools/postgres durable env VMIMG_BENCH_POSTGRES_OWN=1 bash -c 'VMIMG_BENCH_POSTGRES=$VMIMG_TEST_POSTGRES exec "$0" "$@"' "$0" "$@"
fi

fail() { printf 'benches/lists.sh: %s\n' "$*" >&2; exit 1; }
clean() {
    for server in "${servers[@]}"; do kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; done
    [ -n "${VMIMG_BENCH_KEEP:-}" ] || rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

now() { date +%s.%N; }
median() { sort -n | awk '{ all[NR] = $1 } END { print (NR % 2) ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'; }
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# seed DATABASE IMAGES: a service's folder with so many images, or the one that is there.
seed() {
    local folder=$work/$1-$2
    mkdir -p "$folder"
    {
        printf 'VMIMG_DATA_DIR=%q\nVMIMG_LOG=warn\n' "$folder/data"
        [ "$1" = sqlite ] || printf 'VMIMG_DATABASE_URL=%q\n' "${VMIMG_BENCH_POSTGRES}vmimg_bench_$2"
    } >"$folder/environment"
    [ ! -e "$folder/seeded" ] || return 0
    if [ "$1" = postgres ]; then
        psql -q "${VMIMG_BENCH_POSTGRES}postgres" -c "DROP DATABASE IF EXISTS vmimg_bench_$2" -c "CREATE DATABASE vmimg_bench_$2" 2>/dev/null
    fi
    local begun
    begun=$(now)
    (with "$folder" "$binary" dev seed --images "$2" --administrators 10 --seed 7 --password "$password") >"$folder/seed.log" 2>&1 ||
        fail "seeding failed: $(tail -n 3 "$folder/seed.log")"
    awk -v what="$1, $2 images" -v a="$begun" -v b="$(now)" 'BEGIN { printf "%s: seeded in %.0f s\n", what, b - a }'
    touch "$folder/seeded"
}

# with FOLDER COMMAND…: becomes it, with that service's settings and no others; for a subshell.
with() { unset "${!VMIMG_@}" && set -a && . "$1/environment" && set +a && shift && exec "$@"; }

# serve DATABASE IMAGES PORT: starts the service and waits until it is ready and has compared files with records.
serve() {
    local folder=$work/$1-$2 begun pid before=0 after
    begun=$(now)
    with "$folder" "$binary" serve --listen "127.0.0.1:$3" >"$folder/log" 2>&1 &
    pid=$!
    servers+=("$pid")
    for _ in $(seq 1200); do
        curl -fs -o /dev/null "http://127.0.0.1:$3/readyz" && break
        kill -0 "$pid" 2>/dev/null || fail "the server stopped: $(tail -n 3 "$folder/log")"
        sleep 0.05
    done
    ready=$(awk -v a="$begun" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }')
    printf '%s, %s images: ready %s s after its start\n' "$1" "$2" "$ready"
    sleep 2
    for _ in $(seq 120); do
        after=$(ticks "$pid")
        [ $((after - before)) -gt 8 ] || break
        before=$after
        sleep 1
    done
    # Ten administrators sign in.
    local jar=$folder/jar n
    : >"$folder/cookies"
    for n in 01 02 03 04 05 06 07 08 09 10; do
        rm -f "$jar"
        curl -fsS -o /dev/null -c "$jar" -H "Origin: http://127.0.0.1:$3" --data-urlencode "email=admin$n@example.org" \
            --data-urlencode "password=$password" "http://127.0.0.1:$3/sign-in"
        awk '$6 ~ /session/ { print $6 "=" $7 }' "$jar" >>"$folder/cookies"
    done
    [ "$(wc -l <"$folder/cookies")" = 10 ] || fail "the ten administrators cannot sign in."
}

# Asks in turns as each of the people; prints requests a second, median, 99th percentile, and what went wrong.
cat >"$work/ask.lua" <<'LUA'
local requests, turn = {}, 0
function init(args)
  local encoding = os.getenv("VMIMG_BENCH_ENCODING") or ""
  for cookie in io.lines(args[1]) do
    local headers = { ["Cookie"] = cookie, ["Accept"] = "text/html" }
    if encoding ~= "" then headers["Accept-Encoding"] = encoding end
    table.insert(requests, wrk.format("GET", args[2], headers))
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local wrong = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format("%.0f %.3f %.3f %d\n", summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, wrong))
end
LUA

# ask FOLDER PORT PATH
ask() { wrk -t1 -c32 -d"${seconds}s" --timeout 10s -s "$work/ask.lua" "http://127.0.0.1:$2" -- "$1/cookies" "$3" | tail -n 1; }

# The views: group, words, path. A page deep in the list is asked for by a place that lies in its middle.
id=0193a5c0-0000-7000-8000-000000000000
views() {
    local images=$1 storage=$2 small=$3 degraded=$4 removed=$5 cluster=$6 sort
    echo "page|first|/images"
    echo "page|first of 100 rows|/images?size=100"
    echo "page|deep|/images?after=created.1747696000000000.$id"
    echo "page|deep, backwards|/images?before=created.1747696000000000.$id"
    for sort in name -name type -type os -os size -size created; do echo "order|$sort|/images?sort=$sort"; done
    echo "order|name, deep|/images?sort=name&after=name.t:r.$id"
    echo "order|type, deep|/images?sort=-type&after=type.t:installation.$id"
    echo "order|os, deep|/images?sort=os&after=os.t:fedora-43-server.$id"
    echo "order|size, deep|/images?sort=-size&after=size.2500000000.$id"
    for kind in installation base virtual_disk; do echo "filter|type $kind|/images?type=$kind"; done
    for status in available uploading creating pending degraded file_unavailable; do echo "filter|status $status|/images?status=$status"; done
    echo "filter|status, two|/images?status=pending&status=file_unavailable"
    echo "filter|status, four|/images?status=available&status=uploading&status=pending&status=degraded"
    echo "filter|os frequent|/images?os=ubuntu-24.04-server"
    echo "filter|os rare|/images?os=talos"
    echo "filter|os without any|/images?os=windows-10"
    echo "filter|os, three|/images?os=talos&os=debian-12&os=rhel-9"
    echo "filter|storage large|/images?storage=$storage"
    echo "filter|storage small|/images?storage=$small"
    echo "filter|storage degraded|/images?storage=$degraded"
    echo "filter|storage removed|/images?storage=$removed"
    echo "filter|cluster|/images?cluster=$cluster"
    echo "search|frequent|/images?q=amd64"
    echo "search|a fifth|/images?q=server"
    echo "search|middling|/images?q=talos"
    echo "search|rare|/images?q=zephyr"
    echo "search|one|/images?q=r$((images / 2))"
    echo "search|none|/images?q=qqxyz"
    echo "search|frequent parts, none|/images?q=amd64-amd64"
    echo "search|long|/images?q=debian-12.5.0-amd64-netinst"
    echo "search|two characters|/images?q=de"
    echo "search|one character|/images?q=u"
    for sort in name -size os -type; do echo "both|a fifth by $sort|/images?q=server&sort=$sort"; done
    for sort in name -size os; do echo "both|rare by $sort|/images?q=zephyr&sort=$sort"; done
    echo "search|deep|/images?q=ubuntu&after=created.1747696000000000.$id"
    echo "both|search and status|/images?q=server&status=pending"
    echo "both|search, storage, type|/images?q=amd64&storage=$small&type=base"
    for sort in name -size os -type; do echo "both|available by $sort|/images?status=available&sort=$sort"; done
    for sort in name -size os -type; do echo "both|file_unavailable by $sort|/images?status=file_unavailable&sort=$sort"; done
    for sort in name -size -type; do echo "both|degraded by $sort|/images?status=degraded&sort=$sort"; done
    for sort in name -size os; do echo "both|pending by $sort|/images?status=pending&sort=$sort"; done
    for sort in name -size -type; do echo "both|os rare by $sort|/images?os=talos&sort=$sort"; done
    for sort in name os; do echo "both|type by $sort|/images?type=virtual_disk&sort=$sort"; done
    for sort in name -size os -type; do echo "both|storage by $sort|/images?storage=$small&sort=$sort"; done
    for sort in name -size; do echo "both|cluster by $sort|/images?cluster=$cluster&sort=$sort"; done
    echo "both|storage, type, status|/images?storage=$small&type=base&status=available"
    echo "both|os and type by size|/images?os=rhel-9&type=virtual_disk&sort=size"
    echo "both|removed and uploading|/images?storage=$removed&status=uploading"
    echo "other|events|/events"
    echo "other|events, deep|/events?after=at.1747696000000000.$id"
    echo "other|events of an action|/events?action=create_image"
    echo "other|events of nothing|/events?action=remove_storage&outcome=denied"
    echo "other|datastores|/datastores"
    echo "other|a datastore|/datastores/$storage"
}

# ids DATABASE IMAGES: the storages and the cluster that the views name.
ids() {
    local folder=$work/$1-$2 query='SELECT id FROM storages WHERE name LIKE '
    one() {
        if [ "${folder##*/}" = "sqlite-$2" ]; then sqlite3 "$folder/data/vmimg.db" "$1"; else psql -qAt "${VMIMG_BENCH_POSTGRES}vmimg_bench_$2" -c "$1"; fi
    }
    one "$query'nas-01 %'" "$2"
    one "$query'disk-10 %'" "$2"
    one "$query'nas-05 %'" "$2"
    one "$query'disk-12 %'" "$2"
    one "SELECT id FROM clusters WHERE name LIKE 'Oslo %'" "$2"
}

wrong=0
over() { printf '    above the limit: %s\n' "$*"; wrong=$((wrong + 1)); }
above() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'; }

for database in "${databases[@]}"; do
    seed "$database" $few
    seed "$database" "$many"
    port=$((20000 + RANDOM % 12000))
    serve "$database" $few $port
    serve "$database" "$many" $((port + 1))
    ! above "$ready" 2 || over "$database is ready after $ready s, not 2 s"
    mapfile -t small_views < <(views $few $(ids "$database" $few))
    mapfile -t large_views < <(views "$many" $(ids "$database" "$many"))
    printf '\n%-9s %-7s %-28s %9s %9s %9s %9s %7s\n' database group view 'p50 1k' 'p50' 'p99' 'req/s' ratio
    for n in "${!large_views[@]}"; do
        IFS='|' read -r group words path <<<"${large_views[n]}"
        [[ "$group $words" =~ ${VMIMG_BENCH_VIEWS:-.} ]] || continue
        IFS='|' read -r _ _ small_path <<<"${small_views[n]}"
        code=$(curl -s -o "$work/page" -w '%{http_code}' -b "$(head -n 1 "$work/$database-$many/cookies")" "http://127.0.0.1:$((port + 1))$path")
        [ "$code" = 200 ] || fail "$path answers $code"
        : >"$work/few" && : >"$work/many"
        for _ in $(seq "$runs"); do
            ask "$work/$database-$few" $port "$small_path" >>"$work/few"
            ask "$work/$database-$many" $((port + 1)) "$path" >>"$work/many"
        done
        [ "$(awk '{ sum += $4 } END { print sum + 0 }' "$work/few" "$work/many")" = 0 ] || over "$words: requests failed"
        few50=$(awk '{ print $2 }' "$work/few" | median)
        rate=$(awk '{ print $1 }' "$work/many" | median)
        p50=$(awk '{ print $2 }' "$work/many" | median)
        p99=$(awk '{ print $3 }' "$work/many" | median)
        ratio=$(awk -v a="$p50" -v b="$few50" 'BEGIN { printf "%.2f", a / b }')
        printf '%-9s %-7s %-28s %9.2f %9.2f %9.2f %9.0f %7s\n' "$database" "$group" "$words" "$few50" "$p50" "$p99" "$rate" "$ratio"
        # What is combined is shown, and held against no limit.
        [ "$group" != other ] && [ "$group" != both ] || continue
        ! above "$p99" 50 || over "99th percentile $p99 ms, not 50 ms"
        if [ "$group" = search ]; then most=3; else most=1.5; fi
        ! above "$ratio" $most || over "$ratio times as long as with $few images, not $most times"
        if [ "$database $words" = 'sqlite first' ] && above 2000 "$rate"; then over "$rate first pages a second, not 2,000"; fi
    done
    for server in "${servers[@]}"; do kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; done
    servers=()
done
printf '\nload while measuring: %s\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)"
[ "$wrong" = 0 ] || [ -n "${VMIMG_BENCH_COUNT_ONLY:-}" ] || fail "$wrong figures are above their limits."
