//! The guide: types a command where the learner looks, prints both, and says whether it went as it must.

use conformance::{From, Host, Said, eventually};

/// A host that is shown.
pub struct Tour {
    pub host: Host,
}

impl Tour {
    /// A host without a daemon, that forwards nothing, and whose neighbour knows no names; none, said loudly, where hosts cannot be made.
    pub fn begin() -> Option<Self> {
        let host = Host::empty()?;
        // A new network namespace may have the machine's own.
        host.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0").ok();
        // The machine's name server is out of reach, which takes long to find out; this one refuses.
        host.sh("echo nameserver 192.0.2.2 > /run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf").ok();
        Some(Self { host })
    }

    /// Begins a step.
    pub fn step(&self, heading: &str) {
        println!("\n=== {heading}");
    }

    /// Says what is looked at next.
    pub fn says(&self, text: &str) {
        println!("\n# {text}");
    }

    /// What a command that succeeds shows.
    #[track_caller]
    pub fn sees(&self, from: From<'_>, script: &str) -> String {
        self.shown(from, script, self.run(from, script)).ok()
    }

    /// What a command shows that must fail, with these words.
    #[track_caller]
    pub fn fails(&self, from: From<'_>, script: &str, words: &str) {
        let said = self.shown(from, script, self.run(from, script));
        let all = format!("{}{}", said.out, said.err);
        said.fails();
        assert!(all.contains(words), "{script}\nexpected: {words}\nsaid: {all}");
    }

    /// Waits until a command shows this and nothing else: what it asks may still be starting.
    #[track_caller]
    pub fn waits(&self, from: From<'_>, script: &str, expected: &str) {
        let said = eventually(&format!("{from:?} runs {script:?} and sees {expected:?}"), || {
            Some(self.run(from, script)).filter(|said| said.out.trim() == expected)
        });
        self.shown(from, script, said);
    }

    /// What a docker command on the host shows.
    #[track_caller]
    pub fn docker(&self, words: &str) -> String {
        self.sees(From::Host, &format!("docker {words}"))
    }

    /// A docker command on the host is refused, with these words.
    #[track_caller]
    pub fn refused(&self, words: &str, why: &str) {
        self.fails(From::Host, &format!("docker {words}"), why);
    }

    /// What one of our own verbs shows.
    #[track_caller]
    pub fn linkspan(&self, words: &str) -> String {
        self.shown(From::Host, &format!("linkspan {words}"), self.host.linkspan(words)).ok()
    }

    /// Removes containers and networks, which is not worth a look.
    #[track_caller]
    pub fn removes(&self, containers: &str, networks: &str) {
        self.host.docker(&format!("rm -f {containers}")).ok();
        if !networks.is_empty() {
            self.host.docker(&format!("network rm {networks}")).ok();
        }
    }

    fn run(&self, from: From<'_>, script: &str) -> Said {
        match from {
            From::Host => self.host.sh(script),
            From::Outside => self.host.outside(script),
            From::Container(name) => self.host.exec(name, script),
        }
    }

    fn shown(&self, from: From<'_>, script: &str, said: Said) -> Said {
        let place = match from {
            From::Host => "host",
            From::Outside => "outside",
            From::Container(name) => name,
        };
        println!("{place}# {script}");
        for text in [&said.out, &said.err].map(|text| text.trim_end()).into_iter().filter(|text| !text.is_empty()) {
            println!("{text}");
        }
        said
    }
}
