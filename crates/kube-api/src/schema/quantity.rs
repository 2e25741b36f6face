//! Amounts of resources: `100m`, `1.5Gi`, `2e3` (the page "Quantity" of the API reference).

use std::fmt;

use serde_json::Value;

/// An amount. Displays in its shortest exact form, in the notation that it was written in.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    notation: Notation,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Notation {
    Binary,
    Decimal,
    Exponent,
}

const NANO: i128 = 1_000_000_000;
const BINARY: &[(&str, u32)] = &[("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
/// Suffixes with their powers of ten.
const DECIMAL: &[(&str, i32)] =
    &[("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];

impl Quantity {
    /// Reads text. What is smaller than a nano is rounded up.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
        let (number, suffix) = text.split_at(number);
        let (factor, notation) = if let Some((_, bits)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            (NANO << bits, Notation::Binary)
        } else if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            (10_i128.pow((9 + power).unsigned_abs()), Notation::Decimal)
        } else {
            let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|power| (-9..=18).contains(power))?;
            (10_i128.pow((9 + power).unsigned_abs()), Notation::Exponent)
        };
        Some(Self { nano: scaled(number, factor)?, notation })
    }

    /// Reads JSON: text, or a number.
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// In billionths of the unit.
    pub fn nano(self) -> i128 {
        self.nano
    }

    /// In thousandths of the unit, rounded up.
    pub fn milli(self) -> i128 {
        -(-self.nano).div_euclid(1_000_000)
    }
}

/// A decimal number times a factor, rounded away from zero.
fn scaled(number: &str, factor: i128) -> Option<i128> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !is_number(whole) || !is_number(part) || digits.len() > 30 {
        return None;
    }
    let read = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let below = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = read(part)?.checked_mul(factor)?;
    let part = part / below + i128::from(part % below != 0);
    let nano = read(whole)?.checked_mul(factor)?.checked_add(part)?;
    Some(if negative { -nano } else { nano })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        if self.notation == Notation::Binary && self.nano % NANO == 0 {
            let units = self.nano / NANO;
            let fits = BINARY.iter().find(|(_, bits)| units % (1 << bits) == 0);
            return match fits {
                Some((suffix, bits)) => write!(f, "{}{suffix}", units >> bits),
                None => write!(f, "{units}"),
            };
        }
        let fits = DECIMAL.iter().find(|(_, power)| self.nano % 10_i128.pow((9 + power).unsigned_abs()) == 0);
        let (suffix, power) = fits.copied().unwrap_or(("n", -9));
        let number = self.nano / 10_i128.pow((9 + power).unsigned_abs());
        match self.notation {
            Notation::Exponent if power != 0 => write!(f, "{number}e{power}"),
            _ => write!(f, "{number}{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_one_shortest_form() {
        for (written, shown) in [
            ("1", "1"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("100m", "100m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000000", "1M"),
            ("1500", "1500"),
            ("2e3", "2e3"),
            ("0", "0"),
            ("1Ki", "1Ki"),
            ("0.1n", "1n"),
            ("-5", "-5"),
        ] {
            assert_eq!(Quantity::parse(written).expect(written).to_string(), shown, "{written}");
        }
        for wrong in ["", "x", "1x", "1 Gi", "--1", "1.2.3", "1GiB", "e3"] {
            assert!(Quantity::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(Quantity::parse("1").map(Quantity::milli), Some(1000));
        assert_eq!(Quantity::parse("1").map(Quantity::nano), Some(NANO));
    }
}
