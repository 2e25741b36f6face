# Limits on cgroup v2: what the container reads and the kernel has is what was asked, it holds, and it can be updated.

group() {
    echo "/sys/fs/cgroup/linkspan/$(docker inspect -f '{{.Id}}' "$1")"
}

docker run -d --name held --memory 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 \
    --pids-limit 20 --blkio-weight 300 busybox sleep 1000 >/dev/null
inside() {
    docker exec held sh -c "cd /sys/fs/cgroup; cat $*"
}
files='memory.max memory.swap.max memory.low cpu.max cpuset.cpus pids.max'
wanted="67108864
33554432
33554432
50000 100000
0
20"
equal "$(inside "$files")" "$wanted"
equal "$(cd "$(group held)" && cat $files)" "$wanted"
# The weight of 1024 shares is the kernel's own default, 100; that of 512 is half, rounded as runc does.
weight=$(cat "$(group held)/cpu.weight")
docker update --cpu-shares 1024 held >/dev/null
equal "$(cat "$(group held)/cpu.weight")" 100
docker update --cpu-shares 512 held >/dev/null
equal "$(cat "$(group held)/cpu.weight")" "$weight"
cat "$(group held)"/io*weight

refused "an't fork" docker exec held sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 5 & done; wait'

docker update --memory 128m --memory-swap -1 --cpus 1.5 --pids-limit 50 held >/dev/null
equal "$(inside 'memory.max memory.swap.max cpu.max pids.max')" "134217728
max
150000 100000
50"

# Paused, and going on.
docker pause held
contains "$(cat "$(group held)/cgroup.events")" 'frozen 1'
equal "$(docker inspect -f '{{.State.Status}}' held)" paused
docker unpause held
contains "$(cat "$(group held)/cgroup.events")" 'frozen 0'
contains "$(docker top held)" 'sleep 1000'

# What it uses.
docker exec held sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done'
stats=$(docker stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' held)
contains "$stats" '/ 128MiB'
contains "$stats" 'held '
curl -s --unix-socket /var/run/docker.sock 'http://d/containers/held/stats?stream=false&one-shot=true' >/tmp/stats
grep -q '"current":1' /tmp/stats || fail "$(cat /tmp/stats)"
grep -q '"total_usage":[1-9]' /tmp/stats || fail "$(cat /tmp/stats)"
docker rm -f held >/dev/null

# More memory than there may be.
code=0
docker run --name greedy --memory 32m --memory-swap 32m busybox sh -c 'x=$(head -c 100000000 /dev/zero | tr "\0" x); echo ${#x}' || code=$?
equal "$code" 137
equal "$(docker inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' greedy)" 'true 137'
docker rm greedy >/dev/null

# Below a parent that nobody had made before, limits hold as well.
equal "$(docker run --rm --cgroup-parent /made/here --memory 48m busybox cat /sys/fs/cgroup/memory.max)" 50331648
test ! -e /sys/fs/cgroup/made || fail "the parents of the last container stay"

# A group that the container may manage, and one that it may not.
equal "$(docker run --rm busybox cat /proc/self/cgroup)" 0::/
contains "$(docker run --rm --cgroupns host busybox cat /proc/self/cgroup)" 0::/linkspan/
refused 'Read-only file system' docker run --rm busybox mkdir /sys/fs/cgroup/below
docker run --rm --privileged busybox mkdir /sys/fs/cgroup/below
