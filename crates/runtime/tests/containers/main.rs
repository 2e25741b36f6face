//! Real containers from busybox, by the shim binary of this crate. They need root; without it they say so and pass.

mod attach;
mod confinement;
mod exec;
mod files;
mod house;
mod life;
mod shared;
mod survival;
