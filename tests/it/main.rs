//! The tests of the public interface, one binary for fast builds.

mod report;
