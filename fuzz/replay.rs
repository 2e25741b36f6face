//! Gives a fuzz target each file of its corpus. The crates' own tests include this, so that what fuzzing found is replayed by every run of
//! the test suite, without a fuzzing engine.

/// Runs a target on its corpus, `fuzz/corpus/TARGET`.
///
/// # Panics
/// When it has none.
pub fn replay(target: &str, run: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths: Vec<_> = inputs.map(|input| input.expect("a readable folder").path()).collect();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    for path in paths {
        // Shown when the target fails: this is the input that made it.
        println!("{}", path.display());
        run(&std::fs::read(&path).expect("a readable input"));
    }
}
