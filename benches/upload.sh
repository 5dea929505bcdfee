#!/usr/bin/env bash
# How long 1 GiB takes over loopback, from a form and as a resumable upload, until the image is Available: hashed, flushed, renamed, recorded.
#
# Each of five runs measures in turn, with the same file: `dd conv=fsync` onto the file system of the storage, `openssl dgst -sha256`, the
# form against the release binary, nginx's DAV PUT, miniserve's form, a resumable upload (tus) to the release binary, to rustus and to
# @tus/server, all three by curl in the pieces that the console sends, and four forms at once. None of the others hashes or flushes.
# Printed are the medians. It fails when the form takes more than LIMIT times the slower of dd and openssl or is slower than nginx or
# miniserve, when the resumable upload takes more than RESUMABLE_LIMIT times the form or is slower than rustus or @tus/server, when four
# at once are slower than one after the other, when the service needs more memory than 64 MiB and 256 KiB for each upload, or when more
# than 1.02 times the file's size is written to the device.
#
#   BENCH_RUNS=5 BENCH_LIMIT=1.9 BENCH_RESUMABLE_LIMIT=1.1 BENCH_FOLDER=somewhere benches/upload.sh
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${BENCH_RUNS:-5}
limit=${BENCH_LIMIT:-1.9} resumable_limit=${BENCH_RESUMABLE_LIMIT:-1.1}
binary=$(realpath "${VMIMG_BINARY:-${CARGO_TARGET_DIR:-target}/release/vmimg}")
tools=$PWD/target/tools
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

# The pieces that the console sends where every one of them is quick, as files, so that curl reads them as it reads the form's.
mapfile -t sizes < <({
    cat static/js/pace.js
    echo "const pace = new Pace(); let size;"
    echo "for (let left = $bytes; left > 0; left -= size) { size = Math.min(pace.size, left); console.log(size); pace.arrived(size, 0); }"
} | node --input-type=module)
for at in "${!sizes[@]}"; do head -c "${sizes[at]}" >"$work/piece$at"; done <"$iso"

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

# resume URL NAME: announces an upload to a server of tus and sends it in pieces, over one connection; prints its address.
resume() {
    local origin=${1%/*} address offset=0 metadata each=(-sS -b "$jar" -c "$jar" -H "Origin: ${1%/*}" -H 'Tus-Resumable: 1.0.0' -H 'Expect:') requests=()
    metadata=$(for pair in "name=$2" filename=one-gib.iso "storage=${storage##*/}"; do printf '%s %s,' "${pair%%=*}" "$(printf %s "${pair#*=}" | base64 -w 0)"; done)
    address=$(curl "${each[@]}" -X POST -H "Upload-Length: $bytes" -H "Upload-Metadata: ${metadata%,}" -o "$work/answer" -w '%{http_code} %header{location}' "$1")
    [[ $address == "201 $origin"/* ]] || fail "$1 answered $address: $(head -c 600 "$work/answer")"
    address=${address#201 }
    for at in "${!sizes[@]}"; do
        requests+=(--next "${each[@]}" -X PATCH -T "$work/piece$at" -H "Upload-Offset: $offset" -H 'Content-Type: application/offset+octet-stream')
        requests+=(-o "$work/answer" -w '%{http_code}\n' "$address")
        offset=$((offset + sizes[at]))
    done
    curl "${requests[@]:1}" >"$work/codes"
    [ "$(grep -cx 204 "$work/codes")" = ${#sizes[@]} ] || fail "the pieces of $address were answered $(tr '\n' ' ' <"$work/codes"), $(head -c 600 "$work/answer")"
    echo "$address"
}

# sent ANSWER: prints the path of the image that a form led to.
sent() {
    local answer
    answer=$(cat "$1")
    [[ $answer == 303\ * ]] || fail "the upload answered $answer: $(sed 's/<[^>]*>/ /g' "$1.body" | tr -s ' \n' ' ' | head -c 600)"
    echo "${answer#303 "$url"}"
}

# complete IMAGE: looks that it is Available with its digest, and deletes it, so that the next finds the same room.
complete() {
    local image=$1 version
    page "$image" >"$work/answer"
    grep -q "$digest" "$work/answer" || fail "the page of the image does not show the SHA-256 $digest."
    version=$(page "$image/deletion" | grep -o 'name="version" value="[0-9]*"' | grep -o '[0-9]*')
    post "$image/deletion" "version=$version" >/dev/null
}

# emptied FOLDER: looks that another server put the whole file there, and empties it.
emptied() {
    [ -n "$(find "$work/$1" -type f -size "${bytes}c")" ] || fail "$1 did not take the file."
    rm -r "${work:?}/$1"/*
}

peak() { awk '/^VmHWM:/ { printf "%.0f", $2 / 1024 }' "/proc/$server/status"; }

# An idle disk and no debt of the run before: what waits in the cache would be paid for by whoever comes next.
rest() { sync; sleep 1; }

mkdir "$work/nginx" "$work/nginx/files" "$work/nginx/temp" "$work/miniserve" "$work/rustus" "$work/tus"
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
for tool in bin/miniserve bin/rustus tus-server; do [ -e "$tools/$tool" ] || fail "there is no $tools/$tool: run tests/tools/setup bench."; done
"$tools/bin/miniserve" --upload-files --interfaces 127.0.0.1 --port "$port" "$work/miniserve" >"$work/miniserve.log" 2>&1 &
pids+=($!)
mini=http://127.0.0.1:$port
answers "$mini/" $! miniserve
"$tools/bin/rustus" --host 127.0.0.1 --port $((port - 2)) --data-dir "$work/rustus" --info-dir "$work/rustus" --max-body-size $((1 << 30)) \
    --log-level ERROR >"$work/rustus.log" 2>&1 &
pids+=($!)
rustus=http://127.0.0.1:$((port - 2))/files
answers "$rustus" $! rustus
(cd "$tools/tus-server" && exec node --input-type=module -e "
    import { FileStore } from '@tus/file-store';
    import { Server } from '@tus/server';
    new Server({ path: '/files', datastore: new FileStore({ directory: '$work/tus' }) }).listen($((port - 3)), '127.0.0.1');
") >"$work/tus.log" 2>&1 &
pids+=($!)
tus=http://127.0.0.1:$((port - 3))/files
answers "$tus" $! @tus/server

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
    complete "$(sent "$work/one")"
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

    rest; begun=$(now)
    address=$(resume "$url/uploads" "run $run resumable")
    f=$(since "$begun")
    complete "/images/${address##*/}"

    rest; begun=$(now)
    resume "$rustus" "run $run" >/dev/null
    g=$(since "$begun")
    emptied rustus

    rest; begun=$(now)
    resume "$tus" "run $run" >/dev/null
    h=$(since "$begun")
    emptied tus

    drafts=()
    for part in 1 2 3 4; do drafts+=("$(draft "run $run part $part")"); done
    rest; begun=$(now)
    senders=()
    for part in 1 2 3 4; do
        send "${drafts[part - 1]}" "$work/four$part" &
        senders+=($!)
    done
    wait "${senders[@]}"
    i=$(since "$begun")
    for part in 1 2 3 4; do complete "$(sent "$work/four$part")"; done

    for name in a b c d e f g h i; do echo "${!name}" >>"$work/$name"; done
    printf 'run %d: dd %s s, openssl %s s, form %s s, nginx %s s, miniserve %s s, ' "$run" "$a" "$b" "$c" "$d" "$e"
    printf 'resumable %s s, rustus %s s, @tus/server %s s, four at once %s s\n' "$f" "$g" "$h" "$i"
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
    complete "$(sent "$work/one")"
else
    device=
    how="by the process, without the file system's journal: no loop device can be made here"
    serve "$work/media2"
    draft=$(draft device)
    before=$(awk '/^write_bytes:/ { printf "%.0f", $2 }' "/proc/$server/io")
    send "$draft" "$work/one"
    after=$(awk '/^write_bytes:/ { printf "%.0f", $2 }' "/proc/$server/io")
    complete "$(sent "$work/one")"
fi
written=$((after - before))
stop "$server"

for name in a b c d e f g h i; do declare "$name=$(median "$name")"; done
over() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
ratio=$(awk -v a="$a" -v b="$b" -v c="$c" 'BEGIN { printf "%.2f", c / (a > b ? a : b) }')
share=$(awk -v written="$written" -v bytes="$bytes" 'BEGIN { printf "%.3f", written / bytes }')
rates=$(awk -v bytes="$bytes" -v c="$c" -v i="$i" 'BEGIN { printf "%.0f MiB/s alone, %.0f MiB/s four at once", bytes / c / 1048576, 4 * bytes / i / 1048576 }')
cat <<END
$bytes bytes, medians of $runs:
  dd conv=fsync          $a s
  openssl dgst -sha256   $b s
  the form               $c s: $ratio times the slower of the two (limit $limit)
  nginx, DAV PUT         $d s
  miniserve, form        $e s
  resumable, ${#sizes[@]} pieces   $f s: $(over "$f" "$c") times the form (limit $resumable_limit)
  rustus                 $g s: the resumable upload takes $(over "$f" "$g") times as long
  @tus/server            $h s: the resumable upload takes $(over "$f" "$h") times as long
  four forms at once     $i s: $rates
  memory at most         $one_peak MiB with one upload, $four_peak MiB with four
  written to the device  $written bytes, $share times the size ($how)
END
promise "slower than $limit times the slower of dd and openssl" 'ratio <= limit' "ratio=$ratio" "limit=$limit"
promise "slower than nginx" 'c < d' "c=$c" "d=$d"
promise "slower than miniserve" 'c < e' "c=$c" "e=$e"
promise "the resumable upload takes more than $resumable_limit times the form" 'f <= limit * c' "c=$c" "f=$f" "limit=$resumable_limit"
promise "the resumable upload is slower than rustus" 'f < g' "f=$f" "g=$g"
promise "the resumable upload is slower than @tus/server" 'f < h' "f=$f" "h=$h"
promise "four at once are slower than one after the other" 'i <= 4 * c' "c=$c" "i=$i"
promise "more memory than 64 MiB and 256 KiB for each upload" 'one <= 64.25 && four <= 65' "one=$one_peak" "four=$four_peak"
promise "more than 1.02 times the size is written" 'share <= 1.02' "share=$share"
[ ${#broken[@]} = 0 ] || { printf 'BROKEN: %s\n' "${broken[@]}" >&2; exit 1; }
