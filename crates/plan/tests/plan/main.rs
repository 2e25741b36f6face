//! Plans of scenarios and of random commands.

#[path = "../../../../tests/steps/folders.rs"]
mod folders;
#[path = "../../../../tests/steps/golden.rs"]
mod golden;
#[path = "../../../../tests/steps/matrix.rs"]
mod matrix;
#[path = "../../../../tests/steps/random.rs"]
mod random;
#[path = "../../../../tests/steps/mod.rs"]
mod steps;

mod converge;
mod properties;
mod reach;
mod scenarios;
