//! From a graph and its numbers to the steps of a model that runs without Burn.

mod float;
mod integer;
mod steps;
