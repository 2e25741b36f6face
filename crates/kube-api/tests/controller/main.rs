//! The controllers: each by cases, all together by rollouts, clocks and owners.

mod cases;
mod clock;
mod owners;
mod rollout;
mod world;
