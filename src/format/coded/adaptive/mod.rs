//! Numbers coded bit by bit, with probabilities that adapt to what was coded before: slower by far than
//! tables, and smaller, which counts where a model is small.
//!
//! Each bit is predicted from several contexts, whose predictions are mixed by a logistic regression
//! that learns on the way (Mahoney 2005, "Adaptive weighing of context models for lossless data
//! compression"). All of it is whole numbers: the same bytes on every machine.

mod bits;
mod floats;
mod logistic;
mod predictor;
mod text;
mod weights;

pub(crate) use bits::{Coding, Decoder, Encoder};
pub(crate) use floats::Floats;
pub(crate) use text::Text;
pub(crate) use weights::{Weights, shape};
