#!/usr/bin/env bash
# Builds the image with a model and tries it as an operator would trust it to be: no network, a read-only root, no rights,
# half a gigabyte and one core. Prints a table and one JSON line; ends with status 1 if anything is not as it should be.
#
#   docker/check.sh [ARGUMENTS OF docker build]     such as --network=host --secret id=pip.conf,src=/etc/pip.conf
set -euo pipefail
cd "$(dirname "$0")/.."

MODELS="whisper-tiny.en silero-vad"
MOST_MB=450
NAME=wren-check-$$
failed=0
json=""

tell() { # name, value, whether it is as it should be
    printf '%-36s %-60s %s\n' "$1" "$2" "$([ "$3" = 1 ] && echo ok || echo WRONG)"
    [ "$3" = 1 ] || failed=1
    json+="${json:+, }\"$1\": \"$2\""
}
is() { [ "$@" ] && echo 1 || echo 0; }
inside() { docker exec "$NAME" "$@"; }
megabytes() { docker image inspect -f '{{.Size}}' "$1" | awk '{printf "%d", $1 / 1e6}'; }
end() { docker rm --force --volumes "$NAME" >/dev/null 2>&1 || true; }
trap end EXIT

export DOCKER_BUILDKIT=1
docker build --quiet "$@" --file docker/Dockerfile --tag wren . >/dev/null
docker build --quiet "$@" --file docker/Dockerfile --tag wren:check --build-arg MODELS="$MODELS" . >/dev/null

size=$(megabytes wren)
tell "image, MB" "$size" "$(is "$size" -le "$MOST_MB")"
tell "with models, MB" "$(megabytes wren:check)" 1

run() { # what happens from here to readiness, in seconds
    local began now=starting
    began=$(date +%s.%N)
    "$@" >/dev/null
    for _ in $(seq 600); do
        now=$(inside python3 -c 'import urllib.request as web
print(web.urlopen("http://127.0.0.1:8000/health/ready", timeout=4).status)' 2>/dev/null || true)
        [ "$now" = 200 ] && break
        sleep 0.2
    done
    [ "$now" = 200 ] || { docker logs "$NAME" >&2; return 1; }
    echo "$(date +%s.%N) $began" | awk '{printf "%.1f", $1 - $2}'
}
tell "first start to ready, s" "$(run docker run --detach --name "$NAME" --network none --read-only --cap-drop ALL \
    --security-opt no-new-privileges --memory 512m --memory-swap 512m --cpus 1 wren:check)" 1
docker stop --time 30 "$NAME" >/dev/null
tell "status after SIGTERM" "$(docker inspect -f '{{.State.ExitCode}}' "$NAME")" \
    "$(is "$(docker inspect -f '{{.State.ExitCode}}' "$NAME")" = 0)"
tell "later start to ready, s" "$(run docker start "$NAME")" 1

tell "user" "$(inside id -u)" "$(is "$(inside id -u)" != 0)"
tell "root file system" "$(inside touch /written 2>&1 | tail -1 | sed 's/.*: //')" \
    "$(inside touch /written 2>/dev/null && echo 0 || echo 1)"
tell "memory at rest, MB" "$(inside awk '/VmRSS/ {printf "%d", $2 / 1000}' /proc/1/status)" 1

limits=$(inside python3 -c 'import httpx; print(httpx.get("http://127.0.0.1:8000/v1/plan").text)' | python3 -c '
import json, sys
plan = json.load(sys.stdin)
budget, first = plan["budget"], plan["chosen"][0]
print(budget["memory_bytes"]["amount"], budget["cores"]["amount"], first["id"], first["memory_bytes"])')
read -r memory cores variant planned <<<"$limits"
tell "planned for, MB and cores" "$(awk "BEGIN {printf \"%d, %d\", $memory / 1e6, $cores}")" \
    "$(awk "BEGIN {print ($memory == 512 * 2^20 && $cores == 1)}")"
tell "planned" "$variant, $(awk "BEGIN {printf \"%d\", $planned / 1e6}") MB" "$(awk "BEGIN {print ($planned < $memory)}")"

sample=$(inside python3 -c 'from service.cli.sample import sample_path; print(sample_path())')
text=$(inside python3 -c 'import httpx, sys
form = {"model": "auto", "response_format": "text"}
with open(sys.argv[1], "rb") as file:
    print(httpx.post("http://127.0.0.1:8000/v1/audio/transcriptions", data=form, files={"file": file}).text.strip())' "$sample")
tell "a recording" "$text" "$(is -n "$text")"
stream=$(inside wren listen --fast --server 127.0.0.1:8000 "$sample" | tr '\n' ' ' | sed 's/ *$//')
tell "a stream" "$stream" "$(is -n "$stream")"
for _ in $(seq 60); do
    health=$(docker inspect -f '{{.State.Health.Status}}' "$NAME")
    [ "$health" = starting ] || break
    sleep 1
done
tell "docker says" "$health" "$(is "$health" = healthy)"

# From a container of its own in the same network: what the clients take does not count against the server.
load=$(docker run --rm --interactive --network "container:$NAME" --entrypoint python3 wren:check - <<'CLIENT'
import io, json, sys, threading, time, wave
import httpx
from service.cli.sample import sample_path

url, codes, failed = "http://127.0.0.1:8000", {}, []
with wave.open(str(sample_path())) as sample:
    format, said = sample.getparams(), sample.readframes(sample.getnframes())
said += bytes(2 * format.framerate)  # a second of silence behind each sentence
long = io.BytesIO()
with wave.open(long, "wb") as file:
    file.setparams(format)
    file.writeframes(said * int(600 * 2 * format.framerate / len(said)))
short = open(sample_path(), "rb").read()

def ask(content, times):
    for _ in range(times):
        while True:
            answer = httpx.post(f"{url}/v1/audio/transcriptions", data={"model": "auto"}, files={"file": content}, timeout=900)
            codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
            if answer.status_code != 429:
                break
            time.sleep(int(answer.headers["retry-after"]))
        if answer.status_code != 200:
            failed.append(answer.text)

job = httpx.post(f"{url}/v1/jobs", data={"model": "auto"}, files={"file": long.getvalue()}, timeout=60).headers["location"]
clients = [threading.Thread(target=ask, args=(long.getvalue(), 1)) for _ in range(3)]
clients += [threading.Thread(target=ask, args=(short, 20)) for _ in range(4)]
began = time.monotonic()
for client in clients: client.start()
for client in clients: client.join()
while (state := httpx.get(url + job).json())["ended_at"] is None: time.sleep(0.5)
took = time.monotonic() - began
print(f"{codes.get(200, 0)} of 83, {codes.get(429, 0)} told to wait, job {state['status']}, {took:.0f} s",
      int(not failed and codes.get(200) == 83 and state["status"] == "completed"), sep="|")
CLIENT
)
tell "3 files and a job of 10 min, clips" "${load%|*}" "${load#*|}"
peak=$(inside sh -c 'cat /sys/fs/cgroup/memory.peak 2>/dev/null || cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes')
tell "most memory, pages of files too, MB" "$(awk "BEGIN {printf \"%d\", $peak / 1e6}")" "$(is "$peak" -le 536870912)"
tell "memory after it, MB" "$(inside awk '/VmRSS/ {printf "%d", $2 / 1000}' /proc/1/status)" 1
tell "killed for memory" "$(docker inspect -f '{{.State.OOMKilled}}' "$NAME")" \
    "$(is "$(docker inspect -f '{{.State.OOMKilled}}' "$NAME")" = false)"

said=$(docker run --rm --network none --read-only --tmpfs /tmp --tmpfs /models:mode=1777 wren 2>&1) && status=0 || status=$?
tell "no model and no network" "status $status: ${said:0:60}" "$(awk "BEGIN {print ($status != 0)}")"

echo "{$json}"
exit "$failed"
