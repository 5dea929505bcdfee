#!/usr/bin/env bash
# How long 1 GiB takes from a form over loopback until the image is Available: hashed, flushed, renamed, recorded.
#
# Five runs, each measuring in turn (a) `dd conv=fsync` onto the file system of the storage, (b) `openssl dgst -sha256`, (c) the plain
# multipart form against the release binary. Prints the medians and (c) / max(a, b); fails above the limit.
#
#   VMIMG_BENCH_RUNS=5 VMIMG_BENCH_LIMIT=2.5 VMIMG_BENCH_FOLDER=somewhere benches/upload.sh
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${VMIMG_BENCH_RUNS:-5}
limit=${VMIMG_BENCH_LIMIT:-2.5}
binary=$(realpath "${VMIMG_BINARY:-${CARGO_TARGET_DIR:-target}/release/vmimg}")
mkdir -p "${VMIMG_BENCH_FOLDER:-target}"
work=$(mktemp -d "$(realpath "${VMIMG_BENCH_FOLDER:-target}")/bench.XXXXXX")
server=

fail() { printf 'benches/upload.sh: %s\n' "$*" >&2; [ ! -s "$work/log" ] || tail -n 20 "$work/log" >&2; exit 1; }
clean() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; }
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }
median() { sort -n | awk '{ all[NR] = $1 } END { print (NR % 2) ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'; }

# Real content: what cannot be compressed or skipped.
mkdir "$work/content" "$work/media"
openssl rand -out "$work/content/payload.bin" $((1 << 30))
iso=$work/one-gib.iso
xorriso -as mkisofs -quiet -V BENCH -J -R -o "$iso" "$work/content" 2>/dev/null
rm -r "$work/content"
bytes=$(stat -c %s "$iso")
digest=$(sha256sum "$iso" | cut -d ' ' -f 1)

port=$((20000 + RANDOM % 12000))
url=http://127.0.0.1:$port
VMIMG_DATA_DIR=$work/data VMIMG_LISTEN=127.0.0.1:$port VMIMG_STORAGE_ROOTS=$work/media VMIMG_LOG=warn \
    "$binary" serve >"$work/log" 2>&1 &
server=$!
for _ in $(seq 100); do
    curl -fs -o /dev/null "$url/livez" && break
    kill -0 "$server" 2>/dev/null || fail "the server stopped."
    sleep 0.1
done

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

code=$(grep -o 'setup?code=[^[:space:]]*' "$work/log" | head -n 1 | cut -d = -f 2)
mkdir "$work/media/storage"
post /setup "code=$code" name=Bench email=bench@example.org 'password=correct horse battery' storage_name=bench "storage_path=$work/media/storage" >/dev/null
storage=$(page /local-storages | grep -o '/local-storages/[0-9a-f-]\{36\}' | head -n 1)

upload() {
    local draft
    draft=$(curl -sS -b "$jar" -c "$jar" -o /dev/null -w '%{redirect_url}' "$url/images/new")
    draft=${draft#"$url"}
    draft=${draft%/general}
    post "$draft/general" "name=run $1" kind=installation >/dev/null
    post "$draft/configuration" "storage=${storage##*/}" os=other >/dev/null
    local begun answer
    begun=$(now)
    answer=$(curl -sS -b "$jar" -c "$jar" -H "Origin: $url" -H 'Expect:' -o "$work/answer" -w '%{http_code} %{redirect_url}' \
        -F "file=@$iso" "$url$draft/create")
    took=$(since "$begun")
    [[ $answer == 303\ * ]] || fail "the upload answered $answer: $(sed 's/<[^>]*>/ /g' "$work/answer" | tr -s ' \n' ' ' | head -c 600)"
    image=${answer#303 "$url"}
    page "$image" >"$work/answer"
    grep -q "$digest" "$work/answer" || fail "the page of the image does not show the SHA-256 $digest."
    # The next run finds the same room and an idle disk.
    version=$(page "$image/deletion" | grep -o 'name="version" value="[0-9]*"' | grep -o '[0-9]*')
    post "$image/deletion" "version=$version" >/dev/null
}

for run in $(seq "$runs"); do
    begun=$(now)
    dd if="$iso" of="$work/media/copy" bs=1M conv=fsync status=none
    a=$(since "$begun")
    rm "$work/media/copy"
    begun=$(now)
    openssl dgst -sha256 "$iso" >/dev/null
    b=$(since "$begun")
    upload "$run"
    echo "$a" >>"$work/a"
    echo "$b" >>"$work/b"
    echo "$took" >>"$work/c"
    printf 'run %d: dd %s s, openssl %s s, upload %s s\n' "$run" "$a" "$b" "$took"
    sleep 1
done

a=$(median <"$work/a")
b=$(median <"$work/b")
c=$(median <"$work/c")
ratio=$(awk -v a="$a" -v b="$b" -v c="$c" 'BEGIN { printf "%.2f", c / (a > b ? a : b) }')
printf '%d bytes, medians of %d: dd conv=fsync %s s, openssl dgst -sha256 %s s, upload %s s: %s times the slower (limit %s)\n' \
    "$bytes" "$runs" "$a" "$b" "$c" "$ratio" "$limit"
awk -v ratio="$ratio" -v limit="$limit" 'BEGIN { exit !(ratio <= limit) }' || fail "slower than $limit times the slower of the two."
