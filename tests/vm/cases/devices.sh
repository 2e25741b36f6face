# Device rules on cgroup v2: the usual devices work, others are refused even when their node can be made; --device, --device-cgroup-rule
# and --privileged allow.

docker run -d --name plain busybox sleep 1000 >/dev/null
equal "$(docker exec plain sh -c 'head -c 4 /dev/zero | wc -c; echo gone > /dev/null; head -c 4 /dev/urandom | wc -c')" "4
4"
docker exec -t plain sh -c 'echo > /dev/tty'
# The block device that the host's root is on (254:0), and the kernel's memory (1:1).
docker exec plain sh -c 'mknod /disk b 254 0 && mknod /memory c 1 1'
refused 'Operation not permitted' docker exec plain head -c 1 /disk
refused 'Operation not permitted' docker exec plain sh -c 'echo > /disk'
refused 'Operation not permitted' docker exec plain head -c 1 /memory
# The usual ones by nodes of one's own.
docker exec plain sh -c 'mknod /null c 1 3 && echo gone > /null'
# An exec is no way around, nor is a group below.
refused 'Operation not permitted' docker exec --privileged plain head -c 1 /disk
docker rm -f plain >/dev/null

disk=$(printf '%d:%d' "0x$(stat -c %t /dev/vda)" "0x$(stat -c %T /dev/vda)")
equal "$disk" 254:0
equal "$(docker run --rm --device /dev/vda busybox sh -c 'head -c 512 /dev/vda | wc -c')" 512
docker run --rm --device /dev/vda:/disk:r busybox head -c 1 /disk >/dev/null
refused 'Operation not permitted' docker run --rm --device /dev/vda:/disk:r busybox sh -c ': >> /disk'
equal "$(docker run --rm --device-cgroup-rule 'b 254:* rm' busybox sh -c 'mknod /disk b 254 0; head -c 512 /disk | wc -c')" 512
refused 'Operation not permitted' docker run --rm --device-cgroup-rule 'c 254:* rm' busybox sh -c 'mknod /disk b 254 0; head -c 1 /disk'
equal "$(docker run --rm --privileged busybox sh -c 'head -c 512 /dev/vda | wc -c')" 512

# A daemon that starts again takes nothing away.
docker run -d --name plain busybox sleep 1000 >/dev/null
kill_daemon
start_daemon
refused 'Operation not permitted' docker exec plain sh -c 'mknod /disk b 254 0 && head -c 1 /disk'
docker rm -f plain >/dev/null
