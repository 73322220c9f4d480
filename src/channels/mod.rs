//! Whole channels are removed from a module, through everything that depends on them.
//!
//! A zero saves time only where an engine skips it; a smaller tensor saves it everywhere. The captured
//! graph shows which channels go together (Fang et al. 2023, "DepGraph"): [`Channels`] says how many go,
//! and [`Narrowed`] is what is left: a module of the same type, that any Burn code runs and trains.

mod check;
mod choose;
mod error;
mod fields;
mod flow;
mod groups;
mod load;
mod narrowed;
mod plan;
mod products;
mod read;
mod reason;
mod removal;
mod reshape;
mod rules;
mod run;
mod score;
mod slots;

pub use error::ChannelError;
pub use fields::{Fields, Resize};
pub use load::{fit, load, load_with};
pub use narrowed::{ChannelGroup, Narrowed};
pub use plan::Channels;
pub use reason::Reason;
pub use removal::Removal;
pub use score::Score;
