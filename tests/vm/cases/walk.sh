# A container's life on cgroup v2: run, exec, names, a published port from outside, stop, rm, and nothing is left.

equal "$(docker run --rm busybox echo hello)" hello
docker network create shop >/dev/null
docker run -d --name web --network shop -p 8080:80 busybox httpd -f -p 80 -h /var/www >/dev/null
equal "$(docker exec web cat /etc/issue)" "linkspan test image"
eventually docker run --rm --network shop busybox get web:80 >/dev/null
equal "$(docker run --rm --network shop busybox get web:80)" hello
outside 'reach 192.0.2.1:8080'
reach 127.0.0.1:8080
docker stop -t 1 web
docker rm web
docker network rm shop
