//! The table, as Markdown.

use crate::{
    bench::table::{Target, Unit},
    run::Result,
};

/// One line of it.
pub struct Line {
    what: &'static str,
    figure: f64,
    unit: Unit,
    target: Target,
    /// What real Kubernetes was measured to do, on another day.
    elsewhere: &'static str,
}

impl Line {
    /// A line.
    pub fn new(what: &'static str, figure: f64, unit: Unit, target: Target) -> Self {
        Self { what, figure, unit, target, elsewhere: "" }
    }

    /// Beside what Kubernetes and its parts do elsewhere.
    pub fn beside(self, elsewhere: &'static str) -> Self {
        Self { elsewhere, ..self }
    }

    /// The line in Markdown, without its end.
    pub fn markdown(&self) -> String {
        let Self { what, figure, unit, target, elsewhere } = self;
        let verdict = target.verdict(*figure, None);
        format!("| {what} | {} | {} | {verdict} | {elsewhere} |", unit.text(*figure), target.text(*unit))
    }
}

/// The table's first two lines.
pub const HEAD: &str = "| what | linkspan | target | | Kubernetes 1.36, elsewhere |\n|---|---|---|---|---|\n";

/// The lines of a row, or why there are none.
pub fn markdown(row: &str, lines: &Result<Vec<Line>>) -> String {
    match lines {
        Ok(lines) => lines.iter().map(|line| line.markdown() + "\n").collect(),
        Err(why) => format!("| {row} | — | | | |\n\n{row}: {why}\n"),
    }
}
