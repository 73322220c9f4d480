//! Which kernel runs each layer, and weights packed for it.

pub(super) mod cache;
pub(super) mod choose;
mod compact;
mod pack;
pub(super) mod prepare;
mod tile;
mod trial;
pub(super) mod tuner;
mod winograd;
