//! Traces as text: one hop a line, the end last.

use std::fmt;

use super::{Cause, End, Hop, Leg, Trace, Tuple};

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there\n{}", self.there)?;
        match &self.back {
            Some(back) => write!(f, "back\n{back}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hops.iter().try_for_each(|hop| writeln!(f, "  {hop}"))?;
        writeln!(f, "  {}", self.end)
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |address: std::net::IpAddr, port: u16| match port {
            0 => address.to_string(),
            _ => std::net::SocketAddr::new(address, port).to_string(),
        };
        write!(f, "{} > {}", end(self.source, self.source_port), end(self.destination, self.port))
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { netns, tuple } => write!(f, "sent in {netns}: {tuple}"),
            Self::In(link) => write!(f, "in by {link}"),
            Self::Out(link) => write!(f, "out by {link}"),
            Self::Bridged { bridge, port } => write!(f, "bridged by {bridge} to port {}", port.name),
            Self::Routed { link, via, by } => {
                write!(f, "routed to {link}")?;
                if let Some(via) = via {
                    write!(f, " via {via}")?;
                }
                match by {
                    Some(key) => write!(f, " by {key}"),
                    None => Ok(()),
                }
            }
            Self::Ruled { chain, rule, verdict } => write!(f, "{verdict} by rule \"{rule}\" of chain {chain}"),
            Self::Translated { netns, tuple } => write!(f, "goes on in {netns} as {tuple}"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered { link, tuple, .. } => write!(f, "delivered at {link}: {tuple}"),
            Self::Left { link, tuple } => write!(f, "left by {link}: {tuple}"),
            Self::Dropped(cause) => write!(f, "dropped: {cause}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { chain, rule, verdict } => write!(f, "{verdict} by rule \"{rule}\" of chain {chain}"),
            Self::Policy(chain) => write!(f, "the policy of chain {chain}"),
            Self::NoRoute { netns, destination } => write!(f, "{netns} has no route to {destination}"),
            Self::NoNeighbour { link, address } => write!(f, "nobody on {link} has {address}"),
            Self::LinkDown(link) => write!(f, "link {link} is down"),
            Self::NotForwarding(key) => write!(f, "{} does not forward: set {} to 1", key.netns, key.path),
            Self::Loopback { link, address } => {
                write!(f, "{address} is a loopback address and may not pass {link}")?;
                if address.is_ipv4() {
                    write!(f, ": set net/ipv4/conf/{}/route_localnet to 1", link.name)?;
                }
                Ok(())
            }
            Self::NoSource(netns) => write!(f, "{netns} has no address to send from"),
            Self::NoListener { netns, proto, port } => {
                write!(f, "nobody listens on {} port {port} in {netns}", crate::nft::Value::Proto(*proto))
            }
            Self::StrangeAnswer(tuple) => write!(f, "the answer comes back as {tuple}, which is not what was asked"),
            Self::Loop(netns) => write!(f, "it goes round by {netns}"),
        }
    }
}
