//! What two threads cost and bring, on a quiet machine and beside programs that are busy.
//!
//! ```text
//! cargo bench --bench team
//! cargo bench --bench team -- --busy 1
//! ```

use std::error::Error;
use std::process::{Child, Command};
use std::time::Instant;

use burn_compress::kernel::{Access, KernelError, Steps, Team, VectorBlock};
use clap::Parser;

/// Times runs of a team of two threads, and the same work on one.
#[derive(Parser)]
struct Arguments {
    /// Programs that keep a processor busy meanwhile
    #[arg(long, default_value_t = 0)]
    busy: usize,
    #[arg(long, default_value_t = 2_000)]
    runs: usize,
    /// Is one of these programs
    #[arg(long, hide = true)]
    spin: bool,
    /// `cargo bench` gives it
    #[arg(long, hide = true)]
    bench: bool,
}

/// Steps of a run, about as many as a small network has.
const STEPS: usize = 20;
/// Work of a step, in microseconds of one thread.
const WORK: [f64; 3] = [2.0, 10.0, 50.0];

/// Ends its program when it goes.
struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if arguments.spin {
        loop {
            std::hint::spin_loop();
        }
    }
    let rounds = Rounds::new();
    let own = std::env::current_exe()?;
    let busy = (0..arguments.busy).map(|_| Command::new(&own).arg("--spin").spawn().map(Busy));
    let _busy: Vec<Busy> = busy.collect::<Result<_, _>>()?;
    let team = Team::new(2);
    println!("microseconds             least    median   9 of 10     mean");
    report("a run of nothing", arguments.runs, || {
        team.run(&|_| {});
        Ok(())
    })?;
    for work in WORK {
        for threads in [1, 2] {
            let steps = steps(threads)?;
            let mut blocks = vec![VectorBlock::default(); steps.blocks()];
            let work = work / threads as f64;
            let name = format!("{STEPS} steps of {work} on {threads}");
            report(&name, arguments.runs / 4, || {
                steps.run::<KernelError>(&team, &mut blocks, &|_, _, _, _| {
                    rounds.spend(work);
                    Ok(())
                })
            })?;
        }
    }
    Ok(())
}

/// Steps that each wait for all of the one before.
fn steps(threads: usize) -> Result<Steps, KernelError> {
    let access = |step: usize| {
        let (from, to) = (step % 2 * threads, (step + 1) % 2 * threads);
        Access {
            parts: vec![],
            reads: std::iter::once(from..from + threads).collect(),
            writes: (to..to + threads).map(|block| block..block + 1).collect(),
        }
    };
    Steps::new((0..STEPS).map(access).collect(), 2 * threads, threads)
}

/// Rounds of a loop that take a microsecond: a clock would count the time of others, too.
struct Rounds(f64);

impl Rounds {
    fn new() -> Self {
        let time = || {
            let started = Instant::now();
            Self(1e4).spend(1.0);
            started.elapsed().as_secs_f64() * 1e6
        };
        let least = (0..200).map(|_| time()).fold(f64::INFINITY, f64::min);
        Self(1e4 / least)
    }

    fn spend(&self, microseconds: f64) {
        let mut number = 1u64;
        for round in 0..(self.0 * microseconds) as u64 {
            number = std::hint::black_box(number.wrapping_mul(3) + round);
        }
    }
}

fn report(
    name: &str,
    runs: usize,
    mut run: impl FnMut() -> Result<(), KernelError>,
) -> Result<(), KernelError> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs.max(1) {
        let started = Instant::now();
        run()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    println!(
        "{name:20} {:9.1} {:9.1} {:9.1} {mean:9.1}",
        at(0.0),
        at(0.5),
        at(0.9)
    );
    Ok(())
}
