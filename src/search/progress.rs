use super::{BoxError, Candidate, SearchError};

/// What a search does next.
///
/// ```
/// use burn_compress::search::{SearchActivity, SearchProgress};
/// fn show(progress: &SearchProgress<'_>) -> String {
///     let what = match progress.activity {
///         SearchActivity::Time { candidate } => format!("time of {candidate}"),
///         SearchActivity::Damage { layer } => format!("damage to {layer}"),
///         SearchActivity::Reconstruct { layer, .. } => format!("reconstructing {layer}"),
///         _ => "measuring".to_string(),
///     };
///     format!("{} of {}: {what}", progress.done, progress.of)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SearchProgress<'a> {
    /// What comes next.
    pub activity: SearchActivity<'a>,
    /// Steps that are done: candidates timed, layers looked at, models run.
    pub done: usize,
    /// All steps, at most.
    pub of: usize,
}

/// A step of a search.
///
/// ```
/// use burn_compress::search::{Candidate, SearchActivity};
/// let step = SearchActivity::Time { candidate: Candidate::dense(8) };
/// # let _ = step;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum SearchActivity<'a> {
    /// A candidate is timed in all layers.
    Time {
        /// The candidate.
        candidate: Candidate,
    },
    /// Each candidate is tried in a layer.
    Damage {
        /// Path of the layer's weight.
        layer: &'a str,
    },
    /// A model is made.
    Reconstruct {
        /// The model.
        model: &'a str,
        /// The layer that comes next.
        layer: &'a str,
    },
    /// A model is compiled, timed and scored.
    Measure {
        /// The model.
        model: &'a str,
    },
}

pub(super) type OnProgress<'a> = Box<dyn FnMut(&SearchProgress<'_>) -> Result<(), BoxError> + 'a>;

/// Tells of progress.
pub(super) struct Clock<'a> {
    pub callback: Option<OnProgress<'a>>,
    pub done: usize,
    pub of: usize,
}

impl Clock<'_> {
    pub fn tell(&mut self, activity: SearchActivity<'_>) -> Result<(), BoxError> {
        let progress = SearchProgress {
            activity,
            done: self.done,
            of: self.of,
        };
        match &mut self.callback {
            Some(callback) => callback(&progress),
            None => Ok(()),
        }
    }

    pub fn begin(&mut self, activity: SearchActivity<'_>) -> Result<(), SearchError> {
        self.tell(activity)
            .map_err(|source| SearchError::Stopped { source })
    }
}
