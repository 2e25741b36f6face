# Published ports on this kernel: both families, hairpin, loopback, from another network, the userspace listener, UDP flows that move.

docker network create --ipv6 both >/dev/null
docker network create other >/dev/null
docker run -d --name web --network both -p 8080:80 -p 7007:7/udp busybox sh -c \
    'socat -T 5 UDP6-LISTEN:7,fork,reuseaddr,ipv6only=0 EXEC:cat & exec httpd -f -p 80 -h /var/www' >/dev/null
docker run -d --name only4 -p 8084:80 busybox httpd -f -p 80 -h /var/www >/dev/null
docker run -d --name range -p 9000-9009:9000-9009 busybox httpd -f -p 9005 -h /var/www >/dev/null
docker run -d --name far --network other busybox sleep 1000 >/dev/null
all='192.0.2.1:8080 [2001:db8::1]:8080 192.0.2.1:8084 [2001:db8::1]:8084 192.0.2.1:9005'
eventually reach 127.0.0.1:8080 127.0.0.1:8084 127.0.0.1:9005
reach $all [::1]:8080 [::1]:8084
outside "reach $all"
# Its own published port, and those of others.
within web "reach 192.0.2.1:8080 [2001:db8::1]:8080 192.0.2.1:8084"
within far "reach 192.0.2.1:8080 192.0.2.1:8084"
miss 192.0.2.1:8081 127.0.0.1:9004
outside 'miss 172.17.0.2:80'

ask='printf hi | timeout 5 socat -t 1 - UDP'
equal "$(outside "$ask:192.0.2.1:7007,sourceport=6000,reuseaddr")" hi
equal "$(outside "$ask:[2001:db8::1]:7007")" hi
equal "$(eval "$ask:127.0.0.1:7007")" hi
docker rm -f web >/dev/null
# The same flow finds the next container at that port.
docker run -d --name next -p 7007:7/udp busybox socat -T 5 UDP-LISTEN:7,fork,reuseaddr SYSTEM:'echo next' >/dev/null
moved() {
    equal "$(outside "$ask:192.0.2.1:7007,sourceport=6000,reuseaddr")" next
}
eventually moved
linkspan diff
linkspan trace host 127.0.0.1:8084
docker rm -f next only4 range far >/dev/null
docker network rm both other >/dev/null
