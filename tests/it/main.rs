//! The tests of the public interface, one binary for fast builds.
//!
//! What cannot differ between Burn's backends (kernels, files, the engine, studies) is built with the
//! default one alone.

#[cfg(feature = "flex")]
mod allocations;
mod aware;
mod blocks;
mod calibration;
mod compress;
mod constant;

mod criteria;
#[cfg(feature = "flex")]
mod criteria_study;
mod deploy;
mod device;
mod distill;
mod engine;
#[cfg(feature = "flex")]
mod engine_lines;
#[cfg(feature = "flex")]
mod engine_plain;
#[cfg(feature = "flex")]
mod engine_split;
#[cfg(feature = "flex")]
mod engine_trunk;
mod fallback;
mod far;
mod float_model;
mod floor;
#[cfg(all(unix, feature = "flex"))]
mod fork;
#[cfg(feature = "flex")]
mod fuzz;
mod graph_capture;
mod graph_check;
mod graph_models;
mod graph_ops;
mod graph_passes;
mod grouped;
mod integer_float;
mod joined;
#[cfg(feature = "flex")]
mod kept_choices;
mod learned;
#[cfg(feature = "learner")]
mod learner;
#[cfg(feature = "flex")]
mod messages;
mod models;
mod n_of_m;
#[path = "../support/noise.rs"]
mod noise;
mod packed;
#[cfg(feature = "flex")]
mod pattern_study;
#[cfg(feature = "flex")]
mod progress;
mod prune;
mod quantize;
mod quantized;
mod quantized_aware;
mod quantized_ops;
#[cfg(feature = "flex")]
mod quantized_study;
mod quantized_training;
#[cfg(feature = "flex")]
mod recipe;
mod refine;
mod regrowth;
mod repair;
#[cfg(feature = "flex")]
mod report;
mod resume;
#[path = "../support/runs.rs"]
mod runs;
#[cfg(feature = "flex")]
mod saved;
#[cfg(feature = "flex")]
mod schedule;
mod steer;
#[cfg(feature = "flex")]
mod study;
#[cfg(feature = "flex")]
mod tied;
mod transposed;
#[cfg(feature = "flex")]
mod warnings;
#[cfg(feature = "flex")]
mod warnings_of_pruning;
mod work;
