# Networks on this kernel: names, internal, ICC off, dual stack, connect and disconnect, the way out, and a flushed ruleset.

docker network create --internal --subnet 10.1.0.0/24 inner >/dev/null
docker network create -o com.docker.network.bridge.enable_icc=false --subnet 10.3.0.0/24 quiet >/dev/null
docker network create --ipv6 --subnet 10.4.0.0/24 --subnet fd00:4::/64 both >/dev/null
serve='busybox httpd -f -p 80 -h /var/www'
docker run -d --name in1 --network inner $serve >/dev/null
docker run -d --name q1 --network quiet -p 8082:80 $serve >/dev/null
docker run -d --name b1 --network both --network-alias friend $serve >/dev/null
docker run -d --name mover --network inner busybox sleep 1000 >/dev/null
within mover 'reach 10.1.0.2:80; miss 10.3.0.2:80 10.4.0.2:80; ! ping -c 1 -W 1 192.0.2.2 2>&1'
docker network connect quiet mover
docker network connect both mover
within mover 'reach 10.4.0.2:80 [fd00:4::2]:80; miss 10.3.0.2:80; ping -c 1 -W 3 192.0.2.2; ping -c 1 -W 3 2001:db8::2'
equal "$(docker exec mover get friend:80)" hello
equal "$(docker exec mover get in1:80)" hello
outside 'reach 192.0.2.1:8082'
docker network disconnect both mover
within mover 'miss 10.4.0.2:80 [fd00:4::2]:80'

nft list ruleset >/tmp/before
contains "$(cat /tmp/before)" 'table inet linkspan'
nft --check --file /tmp/before
nft flush ruleset
# Chains and elements may come in another order.
words() {
    tr -s ' ,\t' '\n' <"$1" | sort
}
repaired() {
    nft list ruleset >/tmp/after
    equal "$(words /tmp/before)" "$(words /tmp/after)"
    linkspan diff
}
eventually repaired
outside 'reach 192.0.2.1:8082'
ip link del "$(ip -o link show type bridge | grep -o 'br-[0-9a-f]*' | head -n 1)"
eventually linkspan diff
reach 10.1.0.2:80 10.3.0.2:80 10.4.0.2:80
contains "$(linkspan doctor)" 'good     control groups: version 2'
linkspan doctor | grep -v '^ ' | grep -v -e ^good -e forwarding && fail "the doctor complains"
docker rm -f in1 q1 b1 mover >/dev/null
docker network rm inner quiet both >/dev/null
