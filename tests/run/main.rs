//! The tests of what runs a saved network: kernels, files, networks and programs. They need no Burn.

mod archive;
mod archive_forged;
mod archive_sizes;
mod blocks;
mod dot;
mod engine;
mod format;
mod golden;
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

/// A folder that goes away with its value. WebAssembly knows none for temporary files.
pub fn folder() -> tempfile::TempDir {
    let made = match cfg!(target_family = "wasm") {
        true => tempfile::tempdir_in("/tmp"),
        false => tempfile::tempdir(),
    };
    made.unwrap()
}
