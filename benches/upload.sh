#!/usr/bin/env bash
# How long 1 GiB takes from a form over loopback until the image is Available: hashed, flushed, renamed, recorded.
#
# Each of five runs measures in turn, with the same file: `dd conv=fsync` onto the file system of the storage, `openssl dgst -sha256`, the
# form against the release binary, nginx's DAV PUT and miniserve's form (neither of which hashes or flushes), and four forms at once.
# Printed are the medians. It fails when the form takes more than LIMIT times the slower of dd and openssl, is slower than nginx or
# miniserve, when four at once are slower than one after the other, when the service needs more memory than 64 MiB and 256 KiB for each
# upload, or when more than 1.02 times the file's size is written to the device.
#
#   BENCH_RUNS=5 BENCH_LIMIT=1.9 BENCH_FOLDER=somewhere benches/upload.sh
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${BENCH_RUNS:-5}
limit=${BENCH_LIMIT:-1.9}
binary=$(realpath "${VMIMG_BINARY:-${CARGO_TARGET_DIR:-target}/release/vmimg}")
miniserve=${BENCH_MINISERVE:-target/tools/bin/miniserve}
# Settings of whoever calls must not reach the service.
for name in ${!VMIMG_@}; do unset "$name"; done
mkdir -p "${BENCH_FOLDER:-target}"
work=$(mktemp -d "$(realpath "${BENCH_FOLDER:-target}")/bench.XXXXXX")
pids=()
device=
broken=()

fail() { printf 'benches/upload.sh: %s\n' "$*" >&2; [ ! -s "$work/log" ] || tail -n 20 "$work/log" >&2; exit 1; }
stop() { [ -z "${1:-}" ] || { kill "$1" 2>/dev/null && wait "$1" 2>/dev/null || true; }; }
clean() {
    for pid in "${pids[@]}"; do stop "$pid"; done
    [ -z "$device" ] || { umount "$work/disk" || true; losetup -d "$device" || true; }
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.3f", b - a }'; }
median() { sort -n "$work/$1" | awk '{ all[NR] = $1 } END { print (NR % 2) ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'; }
# holds EXPRESSION NAME=VALUE…: whether awk thinks so.
holds() { local expression=$1; shift; local given=(); for pair in "$@"; do given+=(-v "$pair"); done; awk "${given[@]}" "BEGIN { exit !($expression) }"; }
promise() { local words=$1; shift; holds "$@" || broken+=("$words"); }

# Real content: what cannot be compressed or skipped.
mkdir "$work/content" "$work/media"
openssl rand -out "$work/content/payload.bin" $((1 << 30))
iso=$work/one-gib.iso
xorriso -as mkisofs -quiet -V BENCH -J -R -o "$iso" "$work/content" 2>/dev/null
rm -r "$work/content"
bytes=$(stat -c %s "$iso")
digest=$(sha256sum "$iso" | cut -d ' ' -f 1)
port=$((20000 + RANDOM % 12000))

# answers URL PID NAME: waits until it does.
answers() {
    for _ in $(seq 100); do
        [ "$(curl -s -o /dev/null -w '%{http_code}' "$1")" != 000 ] && return
        kill -0 "$2" 2>/dev/null || fail "$3 stopped."
        sleep 0.1
    done
    fail "$3 does not answer."
}

jar=$work/cookies
# page PATH: prints it. post PATH FIELD=VALUE…: prints where it leads.
page() { curl -fsS -b "$jar" -c "$jar" "$url$1"; }
post() {
    local path=$1 answer fields=()
    shift
    for field in "$@"; do fields+=(--data-urlencode "$field"); done
    answer=$(curl -sS -b "$jar" -c "$jar" -H "Origin: $url" -o "$work/answer" -w '%{http_code} %{redirect_url}' "${fields[@]}" "$url$path")
    [[ $answer == 303\ * ]] || fail "POST $path answered $answer: $(sed 's/<[^>]*>/ /g' "$work/answer" | tr -s ' \n' ' ' | head -c 600)"
    echo "${answer#303 "$url"}"
}

# serve FOLDER: starts the service with everything below it and sets it up; $server, $url and $storage from then on.
serve() {
    local folder=$1
    port=$((port + 1)) url=http://127.0.0.1:$((port + 1))
    mkdir -p "$folder/storage"
    rm -f "$jar" "$work/log"
    VMIMG_DATA_DIR=$folder/data VMIMG_LISTEN=${url#http://} VMIMG_STORAGE_ROOTS=$folder VMIMG_LOG=warn "$binary" serve >"$work/log" 2>&1 &
    server=$!
    pids+=("$server")
    answers "$url/livez" "$server" "The service"
    local code
    code=$(grep -o 'setup?code=[^[:space:]]*' "$work/log" | head -n 1 | cut -d = -f 2)
    post /setup "code=$code" name=Bench email=bench@example.org 'password=correct horse battery' storage_name=bench "storage_path=$folder/storage" >/dev/null
    storage=$(page /local-storages | grep -o '/local-storages/[0-9a-f-]\{36\}' | head -n 1)
}

# draft NAME: goes through the wizard; prints its address.
draft() {
    local draft
    draft=$(curl -sS -b "$jar" -o /dev/null -w '%{redirect_url}' "$url/images/new")
    draft=${draft#"$url"}
    draft=${draft%/general}
    post "$draft/general" "name=$1" kind=installation >/dev/null
    post "$draft/configuration" "storage=${storage##*/}" os=other >/dev/null
    echo "$draft"
}

# send DRAFT ANSWER: sends the form with the file.
send() {
    curl -sS -b "$jar" -H "Origin: $url" -H 'Expect:' -o "$2.body" -w '%{http_code} %{redirect_url}' -F "file=@$iso" "$url$1/create" >"$2"
}

# complete ANSWER: looks that the image is Available with its digest, and deletes it, so that the next finds the same room.
complete() {
    local answer image version
    answer=$(cat "$1")
    [[ $answer == 303\ * ]] || fail "the upload answered $answer: $(sed 's/<[^>]*>/ /g' "$1.body" | tr -s ' \n' ' ' | head -c 600)"
    image=${answer#303 "$url"}
    page "$image" >"$work/answer"
    grep -q "$digest" "$work/answer" || fail "the page of the image does not show the SHA-256 $digest."
    version=$(page "$image/deletion" | grep -o 'name="version" value="[0-9]*"' | grep -o '[0-9]*')
    post "$image/deletion" "version=$version" >/dev/null
}

peak() { awk '/^VmHWM:/ { printf "%.0f", $2 / 1024 }' "/proc/$server/status"; }

# An idle disk and no debt of the run before: what waits in the cache would be paid for by whoever comes next.
rest() { sync; sleep 1; }

mkdir "$work/nginx" "$work/nginx/files" "$work/nginx/temp" "$work/miniserve"
cat >"$work/nginx/conf" <<END
daemon off; user $(id -un) $(id -gn); worker_processes 2; pid $work/nginx/pid; error_log $work/nginx/log;
events { worker_connections 64; }
http {
    access_log off; client_max_body_size 0;
    client_body_temp_path $work/nginx/temp/body; proxy_temp_path $work/nginx/temp/proxy; fastcgi_temp_path $work/nginx/temp/fastcgi;
    uwsgi_temp_path $work/nginx/temp/uwsgi; scgi_temp_path $work/nginx/temp/scgi;
    server { listen 127.0.0.1:$((port - 1)); root $work/nginx/files; location / { dav_methods PUT; create_full_put_path on; } }
}
END
PATH=$PATH:/usr/sbin nginx -e "$work/nginx/log" -c "$work/nginx/conf" 2>"$work/nginx/start" &
pids+=($!)
dav=http://127.0.0.1:$((port - 1))
answers "$dav/" $! nginx
[ -x "$miniserve" ] || fail "there is no $miniserve: run tests/tools/setup bench."
"$miniserve" --upload-files --interfaces 127.0.0.1 --port "$port" "$work/miniserve" >"$work/miniserve.log" 2>&1 &
pids+=($!)
mini=http://127.0.0.1:$port
answers "$mini/" $! miniserve

serve "$work/media"

for run in $(seq "$runs"); do
    rest; begun=$(now)
    dd if="$iso" of="$work/media/copy" bs=1M conv=fsync status=none
    a=$(since "$begun")
    rm "$work/media/copy"

    begun=$(now)
    openssl dgst -sha256 "$iso" >/dev/null
    b=$(since "$begun")

    draft=$(draft "run $run")
    rest; begun=$(now)
    send "$draft" "$work/one"
    c=$(since "$begun")
    complete "$work/one"
    one_peak=$(peak)

    rest; begun=$(now)
    [ "$(curl -sS -H 'Expect:' -o /dev/null -w '%{http_code}' -T "$iso" "$dav/run$run.iso")" = 201 ] || fail "nginx did not take the file."
    d=$(since "$begun")
    rm "$work/nginx/files/run$run.iso"

    rest; begun=$(now)
    curl -sS -H 'Expect:' -o "$work/answer" -F "path=@$iso" "$mini/upload?path=/"
    e=$(since "$begun")
    [ "$(stat -c %s "$work/miniserve/one-gib.iso")" = "$bytes" ] || fail "miniserve did not take the file: $(head -c 600 "$work/answer")"
    rm "$work/miniserve/one-gib.iso"

    drafts=()
    for part in 1 2 3 4; do drafts+=("$(draft "run $run part $part")"); done
    rest; begun=$(now)
    senders=()
    for part in 1 2 3 4; do
        send "${drafts[part - 1]}" "$work/four$part" &
        senders+=($!)
    done
    wait "${senders[@]}"
    f=$(since "$begun")
    for part in 1 2 3 4; do complete "$work/four$part"; done

    for name in a b c d e f; do echo "${!name}" >>"$work/$name"; done
    printf 'run %d: dd %s s, openssl %s s, upload %s s, nginx %s s, miniserve %s s, four at once %s s\n' "$run" "$a" "$b" "$c" "$d" "$e" "$f"
done
four_peak=$(peak)
stop "$server"

# What reaches the device: on a file system of its own, whose blocks are counted below it, journal and all.
rest
how=
if [ "$(id -u)" = 0 ] && truncate -s 3G "$work/image" && mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$work/image" \
    && device=$(losetup --find --show "$work/image" 2>/dev/null) && mkdir "$work/disk" && mount "$device" "$work/disk"; then
    how="below an ext4 of its own"
    serve "$work/disk"
    draft=$(draft device)
    sync -f "$work/disk"
    before=$(awk '{ printf "%.0f", $7 * 512 }' "/sys/block/${device#/dev/}/stat")
    send "$draft" "$work/one"
    sync -f "$work/disk"
    after=$(awk '{ printf "%.0f", $7 * 512 }' "/sys/block/${device#/dev/}/stat")
    complete "$work/one"
else
    device=
    how="by the process, without the file system's journal: no loop device can be made here"
    serve "$work/media2"
    draft=$(draft device)
    before=$(awk '/^write_bytes:/ { printf "%.0f", $2 }' "/proc/$server/io")
    send "$draft" "$work/one"
    after=$(awk '/^write_bytes:/ { printf "%.0f", $2 }' "/proc/$server/io")
    complete "$work/one"
fi
written=$((after - before))
stop "$server"

a=$(median a) b=$(median b) c=$(median c) d=$(median d) e=$(median e) f=$(median f)
ratio=$(awk -v a="$a" -v b="$b" -v c="$c" 'BEGIN { printf "%.2f", c / (a > b ? a : b) }')
share=$(awk -v written="$written" -v bytes="$bytes" 'BEGIN { printf "%.3f", written / bytes }')
rates=$(awk -v bytes="$bytes" -v c="$c" -v f="$f" 'BEGIN { printf "%.0f MiB/s alone, %.0f MiB/s four at once", bytes / c / 1048576, 4 * bytes / f / 1048576 }')
cat <<END
$bytes bytes, medians of $runs:
  dd conv=fsync          $a s
  openssl dgst -sha256   $b s
  the form               $c s: $ratio times the slower of the two (limit $limit)
  nginx, DAV PUT         $d s
  miniserve, form        $e s
  four forms at once     $f s: $rates
  memory at most         $one_peak MiB with one upload, $four_peak MiB with four
  written to the device  $written bytes, $share times the size ($how)
END
promise "slower than $limit times the slower of dd and openssl" 'ratio <= limit' "ratio=$ratio" "limit=$limit"
promise "slower than nginx" 'c < d' "c=$c" "d=$d"
promise "slower than miniserve" 'c < e' "c=$c" "e=$e"
promise "four at once are slower than one after the other" 'f <= 4 * c' "c=$c" "f=$f"
promise "more memory than 64 MiB and 256 KiB for each upload" 'one <= 64.25 && four <= 65' "one=$one_peak" "four=$four_peak"
promise "more than 1.02 times the size is written" 'share <= 1.02' "share=$share"
[ ${#broken[@]} = 0 ] || { printf 'BROKEN: %s\n' "${broken[@]}" >&2; exit 1; }
