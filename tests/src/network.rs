//! What tests of the network ask of a host: containers that serve, and who reaches whom.

use crate::{Host, eventually};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From<'a> {
    /// The host itself.
    Host,
    /// The neighbour outside.
    Outside,
    /// A container, by name.
    Container(&'a str),
}

impl Host {
    /// Runs a container that answers `hello` to HTTP at port 80, over both families.
    pub fn serve(&self, name: &str, options: &str) {
        self.docker(&format!("run -d --name {name} {options} busybox httpd -f -p 80 -h /var/www")).ok();
    }

    /// Runs a container that tells each TCP client at port 80 the address it came from.
    pub fn serve_peer(&self, name: &str, options: &str) {
        let listen = "TCP6-LISTEN:80,fork,reuseaddr,ipv6only=0";
        self.docker(&format!("run -d --name {name} {options} busybox socat {listen} SYSTEM:'echo $SOCAT_PEERADDR'"))
            .ok();
    }

    /// Runs a container that sends each UDP datagram at a port back.
    pub fn serve_udp(&self, name: &str, port: u16, options: &str) {
        let listen = format!("UDP6-LISTEN:{port},fork,reuseaddr,ipv6only=0");
        self.docker(&format!("run -d --name {name} {options} busybox socat -T 5 {listen} EXEC:cat")).ok();
    }

    /// Runs a container that does nothing.
    pub fn idle(&self, name: &str, options: &str) {
        self.docker(&format!("run -d --name {name} {options} busybox sleep 100000")).ok();
    }

    /// Runs a shell script in a container.
    pub fn exec(&self, container: &str, script: &str) -> crate::Said {
        self.docker(&format!("exec {container} sh -c \"{script}\""))
    }

    /// A container's IPv4 address on a network.
    pub fn ipv4(&self, container: &str, network: &str) -> String {
        self.docker(&format!(
            "inspect -f '{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}' {container}"
        ))
        .ok()
    }

    /// A container's IPv6 address on a network.
    pub fn ipv6(&self, container: &str, network: &str) -> String {
        self.docker(&format!(
            "inspect -f '{{{{(index .NetworkSettings.Networks \"{network}\").GlobalIPv6Address}}}}' {container}"
        ))
        .ok()
    }

    /// The last line that a TCP server at `ADDRESS:PORT` answers, if it does within two seconds.
    pub fn tcp(&self, from: From<'_>, target: &str) -> Option<String> {
        let ask = format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | socat -t 2 -T 2 - TCP:{target},connect-timeout=2 | tail -n 1"
        );
        self.answer(from, &ask)
    }

    /// What a UDP server at `ADDRESS:PORT` sends back to `hi`, if it does within a second.
    pub fn udp(&self, from: From<'_>, target: &str) -> Option<String> {
        self.answer(from, &format!("printf hi | timeout 1 socat -t 0.5 - UDP:{target}"))
    }

    /// Waits until a server of [`Host::serve`] is reached.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn reaches(&self, from: From<'_>, target: &str) {
        eventually(&format!("{from:?} reaches {target}"), || self.tcp(from, target).filter(|said| said == "hello"));
    }

    /// Waits until a server of [`Host::serve_udp`] is reached.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn reaches_udp(&self, from: From<'_>, target: &str) {
        eventually(&format!("{from:?} reaches {target} by UDP"), || self.udp(from, target).filter(|said| said == "hi"));
    }

    /// A server that is known to be up is not reached.
    ///
    /// # Panics
    /// When it is.
    #[track_caller]
    pub fn misses(&self, from: From<'_>, target: &str) {
        assert_eq!(self.tcp(from, target), None, "{from:?} reaches {target}");
    }

    fn answer(&self, from: From<'_>, ask: &str) -> Option<String> {
        let said = match from {
            From::Host => self.sh(ask),
            From::Outside => self.outside(ask),
            From::Container(name) => self.exec(name, ask),
        };
        Some(said.out.trim().to_owned()).filter(|out| !out.is_empty())
    }
}
