# A linkspan in a container on cgroup v2: its containers run, have names, limits and ports, and go with it.

docker run -d --privileged --name outer -v data:/var/lib/linkspan -v /bin/linkspan:/bin/linkspan:ro -v /bin/docker:/bin/docker:ro \
    -v /busybox.tar:/image.tar:ro -p 9000:8080 busybox linkspan up >/dev/null
eventually docker exec outer docker version >/dev/null
docker exec outer docker import -c 'ENV PATH=/bin' /image.tar busybox >/dev/null
equal "$(docker exec outer docker run --rm busybox echo nested)" nested
docker exec outer docker network create shop >/dev/null
docker exec outer docker run -d --name web --network shop --memory 64m --pids-limit 20 -p 8080:80 busybox httpd -f -p 80 -h /var/www >/dev/null
equal "$(docker exec outer docker exec web sh -c 'cd /sys/fs/cgroup; cat memory.max pids.max')" "67108864
20"
equal "$(docker exec outer docker run --rm --network shop busybox get web:80)" hello
outside 'reach 192.0.2.1:9000'
contains "$(docker exec outer docker stats --no-stream --format '{{.MemUsage}}' web)" '/ 64MiB'
# More control groups than its own a container has not, however deep.
equal "$(docker exec outer docker run --rm busybox cat /proc/self/cgroup)" 0::/
docker exec outer docker run --rm busybox sh -c 'mknod /disk b 254 0; ! head -c 1 /disk'
docker pause outer
docker unpause outer
outside 'reach 192.0.2.1:9000'
docker rm -f outer >/dev/null
