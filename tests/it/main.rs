//! The tests of the public interface, one binary for fast builds.

mod attach;
mod aware;
mod device;
#[cfg(feature = "learner")]
mod learner;
mod models;
mod report;
mod resume;
mod saved;
mod steer;
mod study;
