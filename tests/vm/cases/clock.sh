# The clock jumps by hours and days, forward and back: restarts keep their pauses, health checks and followers go on, and what waits ends.

jump() {
    date -s "@$(($(date +%s) + $1))" >/dev/null
}
count() {
    docker inspect -f '{{.RestartCount}}' "$1"
}
seconds() {
    cut -d. -f1 /proc/uptime
}

docker run -d --name steady --restart always --health-interval 1s --health-cmd 'echo beat >> /beats' busybox sleep 1000 >/dev/null
docker run -d --name flapping --restart always busybox sh -c 'sleep 0.5; exit 1' >/dev/null
docker run -d --name talker busybox sh -c 'while sleep 0.5; do echo word; done' >/dev/null
docker run -d --name leaver busybox sh -c 'until [ -e /leave ]; do sleep 0.2; done; exit 7' >/dev/null
docker logs -f --since 1s talker >/tmp/followed &
docker wait leaver >/tmp/waited &
waiter=$!

beats() {
    docker exec steady sh -c 'cat /beats | wc -l'
}
words() {
    wc -l </tmp/followed
}
beats=0
words=0
goes_on() {
    [ "$(beats)" -gt $((beats + 2)) ] && [ "$(words)" -gt $((words + 2)) ]
}
eventually goes_on
for by in 7200 -7200 259200 -604800; do
    began=$(seconds) restarts=$(count flapping)
    beats=$(beats) words=$(words)
    docker run -d --name stubborn busybox sh -c 'trap "" TERM; while :; do sleep 0.1; done' >/dev/null
    docker stop -t 2 stubborn >/dev/null &
    stopper=$!
    sleep 0.5
    jump "$by"
    wait $stopper
    equal "$(docker inspect -f '{{.State.ExitCode}}' stubborn)" 137
    docker rm stubborn >/dev/null
    eventually goes_on
    # Even the shortest pause, of a tenth of a second after half a second's run, allows no more.
    [ $(($(count flapping) - restarts)) -le $((2 * ($(seconds) - began) + 2)) ] || fail "a storm after $by: $restarts, then $(count flapping)"
    echo "by $by: $(($(seconds) - began)) s, $(count flapping) restarts"
done
[ "$(count flapping)" -gt 1 ] || fail "it did not restart"
equal "$(count steady)" 0
equal "$(docker inspect -f '{{.State.Health.Status}}' steady)" healthy
docker exec leaver touch /leave
wait $waiter
equal "$(cat /tmp/waited)" 7
docker rm -f steady flapping talker leaver >/dev/null
