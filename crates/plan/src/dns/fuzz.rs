//! The host's `/etc/resolv.conf` for the fuzzer: it may say anything. Built for tests, which replay the corpus of `fuzz/`, and by
//! `cargo fuzz`; never into the product.

use model::sandbox::DnsWish;

use super::resolv_conf::{PATH, ResolvConf, Resolver, Wanted};

/// What is written of the file for a container must read as that file again, whoever answers its queries.
pub fn resolv_conf(text: &[u8]) {
    let conf = ResolvConf::parse(&String::from_utf8_lossy(text));
    for resolver in [Resolver::Embedded, Resolver::OutsideIpv4, Resolver::OutsideDual, Resolver::Host] {
        let written =
            ResolvConf::parse(&Wanted::new(&conf, &DnsWish::default(), &DnsWish::default()).text(resolver, PATH));
        assert!(!written.servers.is_empty() || resolver == Resolver::Host, "a container without a server");
        assert_eq!((&written.search, &written.other), (&conf.search, &conf.other));
        if resolver == Resolver::Host {
            assert_eq!((&written.servers, &written.options), (&conf.servers, &conf.options));
        }
    }
}

#[cfg(test)]
#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn corpora() {
        super::replay::replay("resolv_conf", super::resolv_conf);
    }
}
