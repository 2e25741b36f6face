//! Golden files beside the steps of scenarios.

use std::{fs, path::PathBuf};

use crate::steps::Stage;

/// Compares with a golden file, or writes it when UPDATE_GOLDEN is set.
pub fn golden(path: PathBuf, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{} differs:\n{text}\nUPDATE_GOLDEN=1 writes it", path.display());
}

/// The text with names instead of long ids.
pub fn named(stage: &Stage, text: &str) -> String {
    let replace = |text: String, (id, name): (&String, &String)| text.replace(id, name);
    let text = stage.names.iter().fold(text.to_owned(), replace);
    let predefined = stage.state.networks.values().map(|network| (network.id.to_string(), network.name.clone()));
    predefined.fold(text, |text, (id, name)| text.replace(&id, &name))
}
