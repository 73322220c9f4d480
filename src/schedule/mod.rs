//! What value holds at which step: [`Schedule`], the usual [`Curve`]s, and the steered threshold.

mod curve;
mod steered;

pub use curve::{Curve, ScheduleError};
pub use steered::{Steered, Verdict};

/// A value for each step of training, such as the share of weights removed.
///
/// Object-safe, so that an application can bring its own.
///
/// ```
/// use burn_compress::schedule::Schedule;
/// struct Halfway;
/// impl Schedule for Halfway {
///     fn at(&self, step: usize) -> f64 {
///         if step < 100 { 0.0 } else { 0.5 }
///     }
/// }
/// let schedule: Box<dyn Schedule> = Box::new(Halfway);
/// assert_eq!(schedule.at(100), 0.5);
/// assert_eq!(schedule.end(), None); // unless it says so: masks then never freeze by themselves
/// ```
pub trait Schedule: Send + Sync {
    /// The value at a step, counted from 0.
    fn at(&self, step: usize) -> f64;

    /// The step from which the value no longer changes; none if that is not known. Masks that follow
    /// a schedule freeze there.
    fn end(&self) -> Option<usize> {
        None
    }
}
