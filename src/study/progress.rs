use std::time::{Duration, Instant};

use super::Trial;
use super::trial::RECONSTRUCTION;

/// Where a study stands, for a callback.
///
/// ```
/// use burn_compress::study::Progress;
/// fn show(progress: &Progress) {
///     let left = progress.left.map_or("?".into(), |left| format!("{} s", left.as_secs()));
///     println!("{} {:?}, {left} left", progress.trial.key(), progress.activity);
/// }
/// # let _ = show;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The trial at work.
    pub trial: Trial,
    /// What is being done to it.
    pub activity: Activity,
    /// Trials finished, and trials in all.
    pub trials: (usize, usize),
    /// Share of the whole study that is done, 0 to 1.
    pub share: f64,
    /// Time since the study was started, or gone on with.
    pub elapsed: Duration,
    /// Time left by what was done so far; none until that says something.
    pub left: Option<Duration>,
}

/// What is being done to a trial.
///
/// ```
/// use burn_compress::study::Activity;
/// let activity = Activity::Train { epoch: 0, epochs: 5, step: 20, steps: 100 };
/// # let _ = activity;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// It is trained.
    Train {
        /// Epoch, from 0.
        epoch: usize,
        /// Epochs of this training.
        epochs: usize,
        /// Steps done in the epoch.
        step: usize,
        /// Steps of an epoch.
        steps: usize,
    },
    /// It is compressed without training.
    Reconstruct {
        /// Steps done: layers, each looked at once or twice.
        done: usize,
        /// All steps.
        of: usize,
    },
    /// It is scored and timed.
    Measure,
    /// It is finished, was found finished, or is left out.
    Done,
}

// Scoring and timing a trial weighs as much as this share of an epoch.
const MEASURING: f64 = 0.1;

pub(super) type OnProgress<'a> = Box<dyn FnMut(&Progress) + 'a>;

pub(super) struct Clock<'a> {
    callback: Option<OnProgress<'a>>,
    start: Instant,
    // In epochs: all of the study, what was found finished, and what was done now.
    total: f64,
    found: f64,
    done: f64,
    trials: (usize, usize),
    // Whether the trial at work was trained or reconstructed.
    training: bool,
}

impl<'a> Clock<'a> {
    pub fn new(callback: Option<OnProgress<'a>>, (epochs, trials): (usize, usize)) -> Self {
        Self {
            callback,
            start: Instant::now(),
            total: epochs as f64 + trials as f64 * MEASURING,
            found: 0.0,
            done: 0.0,
            trials: (0, trials),
            training: false,
        }
    }

    pub fn found(&mut self, trial: Trial, epochs: usize) {
        self.found += epochs as f64 + MEASURING;
        self.trials.0 += 1;
        self.tell(trial, Activity::Done, 0.0);
    }

    pub fn train(&mut self, trial: Trial, epoch: (usize, usize), step: (usize, usize)) {
        if step.0 == 0 && epoch.0 > 0 {
            self.done += 1.0; // the epoch before
        }
        let activity = Activity::Train {
            epoch: epoch.0,
            epochs: epoch.1,
            step: step.0,
            steps: step.1,
        };
        self.training = epoch.1 > 0;
        self.tell(trial, activity, step.0 as f64 / step.1.max(1) as f64);
    }

    /// So many steps of a reconstruction are done.
    pub fn reconstruct(&mut self, trial: Trial, done: usize, of: usize) {
        self.training = true;
        let share = done as f64 / of.max(1) as f64;
        let activity = Activity::Reconstruct { done, of };
        self.tell(trial, activity, share * RECONSTRUCTION as f64);
    }

    /// A trial that its model does not bear is left out, with so many epochs.
    pub fn left_out(&mut self, trial: Trial, epochs: usize) {
        self.training = false;
        self.total -= epochs as f64 + MEASURING;
        self.trials.1 -= 1;
        self.tell(trial, Activity::Done, 0.0);
    }

    /// A round of steering is over, of so many epochs of so many steps.
    pub fn round(&mut self, trial: Trial, round: (usize, usize), epochs: usize, steps: usize) {
        self.done += epochs as f64;
        let activity = Activity::Train {
            epoch: round.0,
            epochs: round.1,
            step: steps,
            steps,
        };
        self.tell(trial, activity, 0.0);
    }

    /// So many epochs are not needed: a threshold settled before.
    pub fn spared(&mut self, epochs: usize) {
        self.total -= epochs as f64;
    }

    pub fn measure(&mut self, trial: Trial) {
        if std::mem::take(&mut self.training) {
            self.done += 1.0; // its last epoch, or its reconstruction
        }
        self.tell(trial, Activity::Measure, 0.0);
    }

    pub fn measured(&mut self, trial: Trial) {
        self.done += MEASURING;
        self.trials.0 += 1;
        self.tell(trial, Activity::Done, 0.0);
    }

    fn tell(&mut self, trial: Trial, activity: Activity, started: f64) {
        let Some(callback) = &mut self.callback else {
            return;
        };
        let elapsed = self.start.elapsed();
        let done = self.done + started;
        let share = ((self.found + done) / self.total).min(1.0);
        let ahead = (self.total - self.found - done).max(0.0);
        let left = (done > 0.0).then(|| elapsed.mul_f64(ahead / done));
        callback(&Progress {
            trial,
            activity,
            trials: (self.trials.0, self.trials.1.max(self.trials.0)),
            share,
            elapsed,
            left,
        });
    }
}
