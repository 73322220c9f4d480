//! The tests of the public interface, one binary for fast builds.

mod archive;
mod archive_forged;
mod archive_sizes;
mod attach;
mod aware;
mod calibration;
mod device;
mod format;
mod graph_capture;
mod graph_check;
mod graph_models;
mod graph_ops;
mod graph_passes;
mod integer;
mod integer_float;
mod learned;
#[cfg(feature = "learner")]
mod learner;
mod models;
mod prune;
mod quantize;
mod quantized;
mod quantized_aware;
mod quantized_ops;
mod quantized_study;
mod quantized_training;
mod recipe;
mod repair;
mod report;
mod resume;
mod saved;
mod schedule;
mod steer;
mod study;
mod work;
