# Words of the cases. A case runs with `bash -eu`: a command that fails ends it, and is its failure.

# Starts the daemon (again) and waits until it answers.
start_daemon() {
    setsid linkspan up >>/daemon.log 2>&1 </dev/null &
    echo $! >/tmp/daemon.pid
    eventually docker version >/dev/null
}

# Ends the daemon without warning; containers go on.
kill_daemon() {
    kill -9 "$(cat /tmp/daemon.pid)"
}

# Ends the case.
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# Tries a command until it succeeds, for half a minute. What it sets is lost.
eventually() {
    until ("$@") >/tmp/eventually 2>&1; do
        [ "$(cut -d. -f1 /proc/uptime)" -lt "${limit:=$(($(cut -d. -f1 /proc/uptime) + 30))}" ] || {
            cat /tmp/eventually
            fail "in vain: $*"
        }
        sleep 0.1
    done
    unset limit
    cat /tmp/eventually
}

# Two texts are the same.
equal() {
    [ "$1" = "$2" ] || fail "'$1' is not '$2'"
}

# A text contains another.
contains() {
    case $1 in
    *"$2"*) ;;
    *) fail "'$1' does not contain '$2'" ;;
    esac
}

# A command fails, and says so.
refused() {
    said=$1
    shift
    if "$@" >/tmp/refused 2>&1; then
        cat /tmp/refused
        fail "it was not refused: $*"
    fi
    contains "$(cat /tmp/refused)" "$said"
}

# A shell script on the neighbour outside, 192.0.2.2 and 2001:db8::2; this host is 192.0.2.1 and 2001:db8::1 to it.
outside() {
    ip netns exec outside bash -euc ". /prelude.sh; $1"
}

# A shell script in the network of a container.
within() {
    nsenter "--net=$(docker inspect -f '{{.NetworkSettings.SandboxKey}}' "$1")" bash -euc ". /prelude.sh; $2"
}

# The last line that a server answers at ADDRESS:PORT.
get() {
    printf 'GET / HTTP/1.0\r\n\r\n' | socat -t 5 -T 5 - "TCP:$1,connect-timeout=3" | tail -n 1
}

# Each of these ADDRESS:PORT is a server that answers hello.
reach() {
    for target in "$@"; do
        equal "$target $(get "$target")" "$target hello"
    done
}

# None of these is reached.
miss() {
    for target in "$@"; do
        said=$(printf 'GET / HTTP/1.0\r\n\r\n' | socat -t 2 -T 2 - "TCP:$target,connect-timeout=1" 2>&1) && fail "$target was reached: $said"
    done
    return 0
}

# No container, network, control group, link, port or rule is left of what the case made.
leaves_nothing() {
    equal "$(docker ps -aq)" ""
    docker network prune -f >/dev/null
    docker volume prune -af >/dev/null
    equal "$(find /sys/fs/cgroup/linkspan -mindepth 1 -type d 2>/dev/null)" ""
    eventually no_links
    linkspan diff
}

no_links() {
    [ -z "$(ip -o link show type veth | grep -v uplink)" ]
}
