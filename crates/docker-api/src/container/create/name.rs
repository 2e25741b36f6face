//! Names: as given, or an adjective and a surname of somebody who made networks.

use model::State;

use crate::{ApiError, random};

use super::check;

const ADJECTIVES: [&str; 32] = [
    "agile", "amber", "brave", "breezy", "bright", "calm", "clever", "coastal", "deft", "eager", "faithful", "fleet",
    "gentle", "hardy", "jolly", "keen", "limber", "lively", "merry", "mighty", "nimble", "patient", "polite", "quiet",
    "rapid", "silent", "steady", "sturdy", "sunny", "swift", "tidal", "witty",
];

const SURNAMES: [&str; 32] = [
    "baran",
    "bell",
    "berners",
    "bosack",
    "cerf",
    "chappe",
    "clark",
    "davies",
    "elz",
    "erlang",
    "floyd",
    "hamming",
    "hopper",
    "jacobson",
    "kahn",
    "kleinrock",
    "lamarr",
    "lamport",
    "liskov",
    "lovelace",
    "marconi",
    "metcalfe",
    "mockapetris",
    "morse",
    "nagle",
    "perlman",
    "postel",
    "pouzin",
    "rekhter",
    "roberts",
    "shannon",
    "turing",
];

/// The name that was given, or a new one. Whether a given one is free is decided later.
pub(super) fn given_or_made(
    state: &State,
    given: Option<&str>,
    random: random::Source<'_>,
) -> Result<String, ApiError> {
    if let Some(given) = given {
        return check::name(given).map(str::to_owned);
    }
    loop {
        let bytes = random()?;
        let pick = |list: &[&'static str], byte: u8| list[usize::from(byte) % list.len()];
        let pair = format!("{}_{}", pick(&ADJECTIVES, bytes[0]), pick(&SURNAMES, bytes[1]));
        if !state.container_names.contains_key(&pair) {
            return Ok(pair);
        }
        let numbered = format!("{pair}{}", u16::from_be_bytes([bytes[2], bytes[3]]));
        if !state.container_names.contains_key(&numbered) {
            return Ok(numbered);
        }
    }
}
