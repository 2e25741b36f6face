//! What the tests said that they skipped: from nextest's report, since nobody sees the output of a test that passes.

use std::{fs, path::Path};

/// Where nextest leaves it.
const REPORT: &str = "target/nextest/default/junit.xml";
/// How tests begin the line.
const MARK: &str = "SKIPPED";

/// Prints what the last run skipped, each with its test.
pub fn tell() {
    let skipped = fs::read_to_string(Path::new(REPORT)).map(|report| skipped(&report));
    match skipped.as_deref() {
        Ok([]) => println!("Nothing was skipped."),
        Ok(skipped) => {
            println!("{} tests skipped what this machine cannot do:", skipped.len());
            skipped.iter().for_each(|line| println!("  {line}"));
        }
        Err(error) => println!("What was skipped is not known: {REPORT}: {error}"),
    }
}

fn skipped(report: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut test = String::new();
    for line in report.lines() {
        if let Some((_, after)) = line.split_once("<testcase name=\"") {
            test = after.split('"').next().unwrap_or_default().to_owned();
        }
        if let Some(at) = line.find(MARK) {
            let said = line[at + MARK.len()..].split("</").next().unwrap_or_default();
            found.push(format!("{test}{}", plain(said)));
        }
    }
    found
}

fn plain(text: &str) -> String {
    let names = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    names.iter().fold(text.to_owned(), |text, (name, character)| text.replace(name, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_with_its_test() {
        let report = r#"
        <testcase name="one" classname="kernel" time="0.1">
            <system-err>SKIPPED: this machine has no &apos;x&apos;</system-err>
        </testcase>
        <testcase name="two" classname="kernel" time="0.1">
            <system-err>all is well</system-err>
        </testcase>
        <testcase name="three" classname="conformance" time="0.1">
            <system-err>before
SKIPPED: no root &amp; no kernel
after</system-err>"#;
        assert_eq!(skipped(report), ["one: this machine has no 'x'", "three: no root & no kernel"]);
    }
}
