//! Progress on stderr: a bar on a terminal, a line now and then elsewhere.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where stderr is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

pub struct Bars {
    bar: ProgressBar,
    /// When the next line is due; `None` on a terminal.
    next_line: Option<Cell<Instant>>,
}

impl Bars {
    pub fn new(total: u64) -> Self {
        let bar = ProgressBar::new(total).with_style(
            ProgressStyle::with_template("{bar:30} {percent:>3} % {elapsed}  {wide_msg}")
                .expect("the template is valid"),
        );
        let is_terminal = std::io::stderr().is_terminal();
        if is_terminal {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self {
            bar,
            next_line: (!is_terminal).then(|| Cell::new(Instant::now() + PAUSE)),
        }
    }

    /// Names what is under way.
    pub fn message(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
        self.line();
    }

    pub fn total(&self, steps: u64) {
        self.bar.set_length(steps);
    }

    /// Sets the steps done so far.
    pub fn at(&self, step: u64) {
        self.bar.set_position(step);
        self.line();
    }

    pub fn step(&self) {
        self.bar.inc(1);
        self.line();
    }

    /// Prints a line above the bar.
    pub fn print(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self) {
        let Some(due) = &self.next_line else { return };
        let now = Instant::now();
        if now < due.get() {
            return;
        }
        due.set(now + PAUSE);
        let bar = &self.bar;
        let of = bar.length().unwrap_or_default();
        eprintln!("{}/{of} {}", bar.position(), bar.message());
    }
}
