# The machine restarts: policies hold, volumes and published ports are there again, and what had no policy has ended.

if ! [ -e /restarted ]; then
    docker network create shop >/dev/null
    docker run -d --name kept --restart unless-stopped --network shop -p 8080:80 -v data:/data busybox \
        sh -c 'echo again >> /data/starts; exec httpd -f -p 80 -h /var/www' >/dev/null
    docker run -d --name always --restart always busybox sleep 1000 >/dev/null
    docker run -d --name stopped --restart unless-stopped busybox sleep 1000 >/dev/null
    docker run -d --name plain busybox sleep 1000 >/dev/null
    docker stop -t 0 always stopped >/dev/null
    eventually reach 127.0.0.1:8080
    touch /restarted
    # Without warning to anybody.
    reboot -f
    sleep 100
fi
eventually reach 127.0.0.1:8080
outside 'reach 192.0.2.1:8080 [2001:db8::1]:8080'
state() {
    docker inspect -f '{{.State.Status}}' "$1"
}
equal "$(state kept) $(state always) $(state stopped) $(state plain)" 'running running exited exited'
equal "$(docker exec kept sh -c 'wc -l </data/starts')" 2
equal "$(docker run --rm --network shop busybox get kept:80)" hello
linkspan diff
docker rm -f kept always stopped plain >/dev/null
docker network rm shop >/dev/null
