//! Decisions in scenarios and in random commands.

#[path = "../../../../tests/steps/folders.rs"]
mod folders;
#[path = "../../../../tests/steps/golden.rs"]
mod golden;
#[path = "../../../../tests/steps/random.rs"]
mod random;
#[path = "../../../../tests/steps/mod.rs"]
mod steps;
#[path = "../../../../tests/steps/told.rs"]
mod told;

mod properties;
mod scenarios;
