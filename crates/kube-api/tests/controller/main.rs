//! The controllers: each by cases, all together by rollouts.

mod cases;
mod rollout;
mod world;
