//! The lines of the table, as Markdown.

use super::sides::Sides;

/// Why an engine has no figures that nobody wants figures of.
pub const NOT_ASKED: &str = "not asked for";

/// One line of the table.
pub struct Line {
    what: String,
    figures: Sides<f64>,
    unit: Unit,
    target: Target,
}

/// What figures count.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Time in milliseconds.
    Ms,
    /// CPU time in milliseconds for each second of wall time.
    MsPerSecond,
    /// 10^6 bytes.
    Megabytes,
    /// Things.
    Count,
    /// Things for each second.
    PerSecond,
    /// 10^9 bits for each second.
    Gbit,
    /// One figure of the same engine divided by another.
    Part,
}

/// What our figure is to reach.
#[derive(Clone, Copy)]
pub enum Target {
    /// At most this part of Docker's.
    OfDocker(f64),
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// Nothing: it is there to understand the others.
    Shown,
}

impl Line {
    /// A line.
    pub fn new(what: impl Into<String>, figures: Sides<f64>, unit: Unit, target: Target) -> Self {
        Self { what: what.into(), figures, unit, target }
    }

    /// The line in Markdown, without its end; Podman has a column when it is measured.
    pub fn markdown(&self, podman: bool) -> String {
        let cell = |side: &Result<f64, String>| {
            side.as_ref().map_or_else(|_| "—".to_owned(), |figure| self.unit.text(*figure))
        };
        let target = self.target.text(self.unit);
        let ratio = self.ratio().map_or_else(|| "—".to_owned(), number);
        let podman = if podman { format!(" {} |", cell(&self.figures.podman)) } else { String::new() };
        format!(
            "| {} | {} |{podman} {} | {ratio} | {target} | {} |",
            self.what,
            cell(&self.figures.docker),
            cell(&self.figures.linkspan),
            self.verdict()
        )
    }

    /// Ours divided by Docker's.
    fn ratio(&self) -> Option<f64> {
        let ratio = self.figures.linkspan.as_ref().ok()? / self.figures.docker.as_ref().ok()?;
        ratio.is_finite().then_some(ratio)
    }

    fn verdict(&self) -> &'static str {
        let Ok(ours) = self.figures.linkspan else { return "" };
        self.target.verdict(ours, self.figures.docker.as_ref().ok().copied())
    }
}

impl Target {
    /// In words.
    pub fn text(self, unit: Unit) -> String {
        match self {
            Self::OfDocker(part) => format!("{} of Docker's", number(part)),
            Self::AtMost(most) => format!("at most {}", unit.text(most)),
            Self::AtLeast(least) => format!("at least {}", unit.text(least)),
            Self::Shown => String::new(),
        }
    }

    /// Whether our figure reaches it, beside Docker's if that was measured.
    pub fn verdict(self, ours: f64, docker: Option<f64>) -> &'static str {
        let met = match self {
            Self::OfDocker(part) => docker.map(|docker| ours <= part * docker),
            Self::AtMost(most) => Some(ours <= most),
            Self::AtLeast(least) => Some(ours >= least),
            Self::Shown => None,
        };
        match met {
            Some(true) => "met",
            Some(false) => "short",
            None => "",
        }
    }
}

/// The table's first two lines.
pub fn head(podman: bool) -> String {
    let (name, rule) = if podman { (" Podman |", "---|") } else { ("", "") };
    format!("| what | Docker Engine |{name} linkspan | ratio | target | |\n|---|---|{rule}---|---|---|---|\n")
}

/// Why figures are missing, each reason once; none for engines that were not asked for.
pub fn notes(lines: &[Line]) -> String {
    let mut notes: Vec<String> = Vec::new();
    for line in lines {
        let sides = &line.figures;
        for (name, side) in [("Docker Engine", &sides.docker), ("Podman", &sides.podman), ("linkspan", &sides.linkspan)]
        {
            let Err(why) = side else { continue };
            if why == NOT_ASKED {
                continue;
            }
            let note = format!("{name}: {why}");
            if !notes.iter().any(|said| said.ends_with(&note)) {
                notes.push(format!("\n{}: {note}", line.what));
            }
        }
    }
    notes.iter().map(|note| format!("{note}\n")).collect()
}

impl Unit {
    /// A figure with its unit.
    pub fn text(self, figure: f64) -> String {
        match self {
            Self::Ms if figure.abs() >= 1000.0 => format!("{} s", number(figure / 1000.0)),
            Self::Ms => format!("{} ms", number(figure)),
            Self::MsPerSecond => format!("{} ms/s", number(figure)),
            Self::Megabytes => format!("{} MB", number(figure)),
            Self::PerSecond => format!("{} /s", number(figure)),
            Self::Gbit => format!("{} Gbit/s", number(figure)),
            Self::Count | Self::Part => number(figure),
        }
    }
}

/// Three digits that mean something, thousands apart.
fn number(figure: f64) -> String {
    let decimals = match figure.abs() {
        size if size >= 100.0 || size == size.round() => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    // The sum of no figures is less than nothing to the format.
    let text = format!("{:.decimals$}", figure + 0.0);
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = text.split_once('.').map_or((text, String::new()), |(w, f)| (w, format!(".{f}")));
    let groups: Vec<_> = whole.as_bytes().rchunks(3).rev().map(|digits| String::from_utf8_lossy(digits)).collect();
    format!("{sign}{}{fraction}", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |docker: Result<f64, &str>, linkspan: Result<f64, &str>, unit, target, expected: &str| {
            let [docker, podman, linkspan] = [docker, Ok(7.0), linkspan].map(|side| side.map_err(str::to_owned));
            let line = Line::new("it", Sides { docker, podman, linkspan }, unit, target);
            assert_eq!(line.markdown(false), expected);
        };
        use Target::*;
        check(Ok(143.2), Ok(20.0), Unit::Ms, OfDocker(0.2), "| it | 143 ms | 20 ms | 0.14 | 0.20 of Docker's | met |");
        check(
            Ok(31_474.0),
            Ok(21.3),
            Unit::Ms,
            AtMost(20.0),
            "| it | 31.5 s | 21.3 ms | 0.001 | at most 20 ms | short |",
        );
        check(
            Err("none"),
            Ok(50_100.4),
            Unit::PerSecond,
            AtLeast(5e4),
            "| it | — | 50,100 /s | — | at least 50,000 /s | met |",
        );
        check(Ok(0.0), Ok(-0.0), Unit::Count, Shown, "| it | 0 | 0 | — |  |  |");
        check(Ok(4.3), Err("none"), Unit::Megabytes, AtMost(1.0), "| it | 4.30 MB | — | — | at most 1 MB |  |");
        check(
            Ok(10.0),
            Ok(-3.21),
            Unit::Ms,
            OfDocker(0.1),
            "| it | 10 ms | -3.21 ms | -0.32 | 0.10 of Docker's | met |",
        );
    }
}
