//! The tests of what runs a saved network: kernels, files, networks and programs. They need no Burn.

mod archive;
mod archive_forged;
mod archive_sizes;
mod blocks;
mod dot;
mod engine;
mod format;
mod images;
mod kernel;
mod network;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/runs.rs"]
mod runs;
mod tokens;
#[path = "../support/tokens.rs"]
mod tokens_support;
