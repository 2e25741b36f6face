//! Gives a fuzz target each file of its corpus. The crates' own tests include this, so that what fuzzing found is replayed by every run of
//! the test suite, without a fuzzing engine. With `LINKSPAN_MANY=1000000` it goes on with so many inputs that are nearly those: not as good as
//! an engine that sees which way each takes, but it needs nothing.

/// Runs a target on its corpus, `fuzz/corpus/TARGET`.
///
/// # Panics
/// When it has none.
pub fn replay(target: &str, run: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = inputs.map(|input| input.expect("a readable folder").path()).collect();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.sort();
    let read = |path| std::fs::read(path).expect("a readable input");
    let inputs: Vec<Vec<u8>> = paths.iter().map(read).collect();
    for (path, input) in paths.iter().zip(&inputs) {
        // Shown when the target fails: this is the input that made it.
        println!("{}", path.display());
        run(input);
    }
    let many: u64 = std::env::var("LINKSPAN_MANY").ok().and_then(|many| many.parse().ok()).unwrap_or_default();
    let mut random = Random(many);
    for _ in 0..many {
        let input = changed(&mut random, &inputs);
        if std::panic::catch_unwind(|| run(&input)).is_err() {
            let kept = std::env::temp_dir().join(format!("{target}-{:x}", random.0));
            std::fs::write(&kept, &input).expect("the input is kept");
            panic!("{target} fails with {}: move it to {}", kept.display(), folder.display());
        }
    }
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % bound.max(1)
    }
}

/// One of the inputs with some changes: bits, bytes, pieces of others or of itself, and what is left out.
fn changed(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    const ODD: [&[u8]; 10] =
        [b"\0", b"\xff\xff\xff\xff", b"-1", b"99999999999999999999", b"\"", b"{", b"]", b"\n", b"%", b"\x80\0\0\0"];
    let mut input = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(4) {
        let (at, other) = (random.below(input.len() + 1), &inputs[random.below(inputs.len())]);
        let end = (at + random.below(16)).min(input.len());
        match random.below(6) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 => drop(input.splice(at..end, ODD[random.below(ODD.len())].iter().copied())),
            3 => drop(input.drain(at..end)),
            4 => {
                let from = random.below(other.len() + 1);
                let piece = &other[from..(from + random.below(64)).min(other.len())];
                drop(input.splice(at..end, piece.iter().copied()));
            }
            _ => {
                let piece = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                drop(input.splice(to..to, piece));
            }
        }
    }
    input
}
