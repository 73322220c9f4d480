//! A network for a page: what JavaScript calls in WebAssembly.
//!
//! A page writes a network's file where [`room`] says, calls [`load`], writes numbers where [`sample`] says,
//! calls [`run`], and reads [`scores`]. Where a call returns 0, [`message`] says why.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_compress::engine::{Options, Program, Tuning};

struct State {
    file: Vec<u8>,
    program: Option<Program>,
    sample: Vec<f32>,
    scores: Vec<f32>,
    message: String,
}

static STATE: Mutex<State> = Mutex::new(State {
    file: Vec::new(),
    program: None,
    sample: Vec::new(),
    scores: Vec::new(),
    message: String::new(),
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn load(&mut self) -> Result<(), String> {
        // A browser's module has no clock to time kernels by.
        let options = Options {
            tuning: Tuning::Estimated,
            ..Options::default()
        };
        let program =
            Program::from_bytes(&self.file, options).map_err(|error| error.to_string())?;
        let numbers =
            |dims: &[burn_compress::network::Dim]| dims.iter().map(|dim| dim.at(1)).product();
        self.sample = vec![0.0; numbers(program.model().input())];
        self.scores = vec![0.0; numbers(&program.model().output_dims())];
        self.program = Some(program);
        Ok(())
    }

    fn run(&mut self) -> Result<(), String> {
        let program = self.program.as_ref().ok_or("load a network first")?;
        let run = program.run_into(&self.sample, 1, &mut self.scores);
        run.map_err(|error| error.to_string())
    }

    // The length of what is there now, or 0.
    fn tell(&mut self, done: Result<usize, String>) -> usize {
        done.unwrap_or_else(|message| {
            self.message = message;
            0
        })
    }
}

/// Room for a file of so many bytes.
#[unsafe(no_mangle)]
pub extern "C" fn room(bytes: usize) -> *mut u8 {
    let mut state = state();
    state.file = vec![0; bytes];
    state.file.as_mut_ptr()
}

/// Reads the file; returns how many numbers a sample has.
#[unsafe(no_mangle)]
pub extern "C" fn load() -> usize {
    let mut state = state();
    let done = state.load().map(|()| state.sample.len());
    state.tell(done)
}

/// The numbers of the sample.
#[unsafe(no_mangle)]
pub extern "C" fn sample() -> *mut f32 {
    state().sample.as_mut_ptr()
}

/// Runs the network on the sample; returns how many scores it has.
#[unsafe(no_mangle)]
pub extern "C" fn run() -> usize {
    let mut state = state();
    let done = state.run().map(|()| state.scores.len());
    state.tell(done)
}

/// The scores of the last run.
#[unsafe(no_mangle)]
pub extern "C" fn scores() -> *const f32 {
    state().scores.as_ptr()
}

/// Why the last call returned 0, in UTF-8.
#[unsafe(no_mangle)]
pub extern "C" fn message() -> *const u8 {
    state().message.as_ptr()
}

/// Bytes of the message.
#[unsafe(no_mangle)]
pub extern "C" fn message_length() -> usize {
    state().message.len()
}

/// The scores of a sample, by a network's file: what a native program calls.
pub fn scores_of(file: Vec<u8>, sample: &[f32]) -> Result<Vec<f32>, String> {
    let mut state = state();
    state.file = file;
    state.load()?;
    if sample.len() != state.sample.len() {
        return Err(format!(
            "a sample has {} numbers, not {}",
            state.sample.len(),
            sample.len()
        ));
    }
    state.sample.copy_from_slice(sample);
    state.run()?;
    Ok(state.scores.clone())
}
