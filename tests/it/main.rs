//! The tests of the public interface, one binary for fast builds.
//!
//! `BURN_COMPRESS_DEVICE=ndarray cargo test --features ndarray --test it backends` runs on another backend
//! than flex what can differ there.

#[cfg(feature = "flex")]
mod allocations;
mod backends;
#[cfg(feature = "flex")]
mod channels;
#[cfg(feature = "flex")]
mod channels_layers;
#[cfg(feature = "flex")]
mod channels_traps;
#[cfg(feature = "flex")]
mod criteria_study;
#[cfg(feature = "flex")]
mod engine_lines;
#[cfg(feature = "flex")]
mod engine_plain;
#[cfg(feature = "flex")]
mod engine_split;
#[cfg(feature = "flex")]
mod engine_trunk;
#[cfg(all(unix, feature = "flex"))]
mod fork;
#[cfg(feature = "flex")]
mod fuzz;
#[cfg(feature = "flex")]
mod kept_choices;
#[cfg(feature = "flex")]
mod messages;
#[path = "../support/noise.rs"]
mod noise;
#[cfg(feature = "flex")]
mod pattern_study;
#[cfg(feature = "flex")]
mod plan_by_layer;
#[cfg(feature = "flex")]
mod progress;
#[cfg(feature = "flex")]
mod quantized_study;
#[cfg(feature = "flex")]
mod recipe;
#[cfg(feature = "flex")]
mod reconstruct;
#[cfg(feature = "flex")]
mod reconstruct_study;
#[cfg(feature = "flex")]
mod reconstruct_trouble;
#[cfg(feature = "flex")]
mod report;
#[path = "../support/runs.rs"]
mod runs;
#[cfg(feature = "flex")]
mod saved;
#[cfg(feature = "flex")]
mod schedule;
#[cfg(feature = "flex")]
mod search;
#[cfg(feature = "flex")]
mod study;
#[cfg(feature = "flex")]
mod tied;
#[cfg(feature = "flex")]
mod warnings;
#[cfg(feature = "flex")]
mod warnings_of_pruning;
