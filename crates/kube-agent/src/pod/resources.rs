//! Quantities, and what requests and limits mean for a container's control group.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};
use model::container::Resources;

use super::spec::{self, Role};

/// What a node has for pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Thousandths of a processor.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of the file system that holds images and logs.
    pub storage: i64,
    /// How many pods.
    pub pods: i64,
}

/// The classes of service of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Everything is limited to what is requested.
    Guaranteed,
    /// Something is requested.
    Burstable,
    /// Nothing is.
    BestEffort,
}

const NANO: i128 = 1_000_000_000;
/// Microseconds of a period of the scheduler.
const PERIOD_US: i64 = 100_000;
/// The least share and the least quota that the kernel takes.
const SHARES_MIN: i64 = 2;
const QUOTA_MIN_US: i64 = 1_000;

/// A quantity in billionths; none for what is no quantity.
pub fn nano(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (scale, number) = match suffix {
        "n" => (1, number),
        "u" => (1_000, number),
        "m" => (1_000_000, number),
        "" => (NANO, number),
        "k" => (NANO * 1_000, number),
        "M" => (NANO * 1_000_000, number),
        "G" => (NANO * NANO, number),
        "T" => (NANO * NANO * 1_000, number),
        "P" => (NANO * NANO * 1_000_000, number),
        "E" => (NANO * NANO * NANO, number),
        "Ki" => (NANO << 10, number),
        "Mi" => (NANO << 20, number),
        "Gi" => (NANO << 30, number),
        "Ti" => (NANO << 40, number),
        "Pi" => (NANO << 50, number),
        "Ei" => (NANO << 60, number),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let scale = if power < 0 {
                NANO / 10i128.checked_pow(power.unsigned_abs())?
            } else {
                NANO * 10i128.checked_pow(power.unsigned_abs())?
            };
            (scale, number)
        }
    };
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let part: i128 = fraction.parse().ok()?;
        value += part.checked_mul(scale)? / 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    }
    Some(sign * value)
}

/// A quantity in thousandths, rounded up.
pub fn milli(quantity: &Quantity) -> i64 {
    ceil(nano(quantity).unwrap_or_default(), 1_000_000)
}

/// A quantity as a whole number, rounded up.
pub fn whole(quantity: &Quantity) -> i64 {
    ceil(nano(quantity).unwrap_or_default(), NANO)
}

/// How many divisors a quantity is, rounded up: what the downward API tells.
pub fn divided(value: i128, divisor: Option<&Quantity>) -> i64 {
    ceil(value, divisor.and_then(nano).filter(|divisor| *divisor > 0).unwrap_or(NANO))
}

fn ceil(value: i128, by: i128) -> i64 {
    i64::try_from(value.div_euclid(by) + i128::from(value.rem_euclid(by) > 0)).unwrap_or(i64::MAX)
}

/// What is said of a container under `requests` or `limits`.
fn said<'c>(of: Option<&'c BTreeMap<String, Quantity>>, name: &str) -> Option<&'c Quantity> {
    of.and_then(|quantities| quantities.get(name))
}

/// The limit of a container.
pub fn limit<'c>(container: &'c Container, name: &str) -> Option<&'c Quantity> {
    said(container.resources.as_ref()?.limits.as_ref(), name)
}

/// The request of a container; its limit where it has none.
pub fn request<'c>(container: &'c Container, name: &str) -> Option<&'c Quantity> {
    said(container.resources.as_ref()?.requests.as_ref(), name).or_else(|| limit(container, name))
}

/// What a pod asks for: thousandths of processors, else whole units. Its init containers come one after the other, beside the sidecars
/// that run by then.
pub fn requested(spec: &PodSpec, name: &str) -> i64 {
    let amount = |quantity: &Quantity| if name == "cpu" { milli(quantity) } else { whole(quantity) };
    let of = |container: &Container| request(container, name).map_or(0, amount);
    let (mut sidecars, mut most) = (0, 0);
    for (role, container) in spec::inits(spec) {
        most = most.max(sidecars + of(container));
        if role == Role::Sidecar {
            sidecars += of(container);
        }
    }
    let mains: i64 = spec.containers.iter().map(of).sum();
    let of_pod = spec.resources.as_ref().and_then(|of_pod| said(of_pod.requests.as_ref(), name)).map(amount);
    of_pod.unwrap_or(most.max(sidecars + mains)) + said(spec.overhead.as_ref(), name).map_or(0, amount)
}

/// The class of a pod.
pub fn qos(spec: &PodSpec) -> Qos {
    let mut guaranteed = true;
    let mut any = false;
    for (_, container) in spec::containers(spec) {
        for name in ["cpu", "memory"] {
            let (request, limit) = (request(container, name), limit(container, name));
            let positive = |quantity: Option<&Quantity>| quantity.and_then(nano).is_some_and(|value| value > 0);
            any |= positive(request) || positive(limit);
            guaranteed &= positive(limit) && request.and_then(nano) == limit.and_then(nano);
        }
    }
    match (guaranteed, any) {
        (true, true) => Qos::Guaranteed,
        (_, true) => Qos::Burstable,
        (_, false) => Qos::BestEffort,
    }
}

/// The limits of a container's control group.
pub fn limits(container: &Container) -> Resources {
    let cpu_milli = limit(container, "cpu").map(milli).filter(|milli| *milli > 0);
    let shares =
        request(container, "cpu").map_or(SHARES_MIN, |quantity| (milli(quantity) * 1024 / 1000).max(SHARES_MIN));
    let memory = limit(container, "memory").map(whole).filter(|bytes| *bytes > 0);
    Resources {
        memory: memory.map(i64::unsigned_abs),
        // A limit of memory is one of memory: swapping does not stretch it.
        memory_swap: memory,
        cpu_shares: u64::try_from(shares).ok(),
        cpu_period: cpu_milli.map(|_| PERIOD_US.unsigned_abs()),
        cpu_quota: cpu_milli.map(|milli| (milli * PERIOD_US / 1000).max(QUOTA_MIN_US)),
        ..Resources::default()
    }
}

/// Which resources a container has other limits of than it was given: `cpu`, `memory`.
pub fn changed(container: &Container, given: &Resources) -> Vec<&'static str> {
    let wanted = limits(container);
    let cpu = |of: &Resources| (of.cpu_shares, of.cpu_period, of.cpu_quota);
    let memory = |of: &Resources| (of.memory, of.memory_swap);
    let changes = [("cpu", cpu(&wanted) != cpu(given)), ("memory", memory(&wanted) != memory(given))];
    changes.into_iter().filter(|(_, changes)| *changes).map(|(name, _)| name).collect()
}

/// How readily the kernel kills a container when memory is short, -1,000 to 1,000: kubelet's numbers.
pub fn oom_score(spec: &PodSpec, container: &Container, capacity: Capacity) -> i32 {
    match qos(spec) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let requested = request(container, "memory").map_or(0, whole);
            let used = 1000i128 * i128::from(requested) / i128::from(capacity.memory.max(1));
            i32::try_from((1000 - used).clamp(3, 999)).unwrap_or(999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("100m", Some(100_000_000)),
            ("1", Some(NANO)),
            ("0.5", Some(NANO / 2)),
            ("1.5Gi", Some(NANO * 3 * (1 << 29))),
            ("2k", Some(NANO * 2000)),
            ("1e3", Some(NANO * 1000)),
            ("12E", Some(NANO * NANO * NANO * 12)),
            ("-1", Some(-NANO)),
            ("5x", None),
            ("", Some(0)),
        ] {
            assert_eq!(nano(&Quantity(text.to_owned())), expected, "{text:?}");
        }
        assert_eq!(milli(&Quantity("1u".to_owned())), 1);
        assert_eq!(divided(3 * NANO / 2, None), 2);
        assert_eq!(divided(NANO << 20, Some(&Quantity("1Mi".to_owned()))), 1);
    }
}
