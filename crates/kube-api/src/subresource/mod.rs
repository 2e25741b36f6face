//! What objects have besides themselves, one file each. `status` is not here: it is an update like others (`verb::update`).

pub mod binding;
pub mod eviction;
pub mod finalize;
pub mod node;
pub mod review;
pub mod scale;
pub mod token;
