//! Which tensors lie line by line, and are made so.
//!
//! A kernel of one row and column reads few positions of many planes. Where these lie apart, a processor that
//! fetches what lies beside them fills its first-level cache with what is needed later; the lines of all planes
//! lie beside each other.
//!
//! Threads that share out a layer by its filters read all of its input, of which another core has just
//! written a part: large tensors cross between the cores' caches at every layer. Threads that share out
//! lines read again what they have written, but for the lines next to another thread's. They read all
//! weights, though, and make a halo apart, of others' lines.

use super::Layout;
use super::budget::{AT_ONCE, POSITIONS};
use super::demand::Tensors;
use super::lanes::Sites;
use super::part::Part;
use crate::engine::lower::node::{Stage, StageWork};
use crate::engine::lower::shape::Kind;
use crate::kernel::Cell;
use crate::network::StepOp;
use crate::network::Value;

/// What a halo that is made apart costs, as bytes of another core's tensor.
const HALO: f64 = 2.0 * 1024.0;
/// What a byte costs that is read here and there.
const SCATTERED: f64 = 0.5;
/// What a byte of weights costs, of another core's tensor one: they come from memory in order, and of
/// sparse ones there are few.
const WEIGHT: f64 = 0.1;

/// Lays tensors line by line where that saves more than it costs.
pub(in crate::engine) fn lay(tensors: &mut Tensors, part: Part<'_>, threads: usize) {
    let candidates: Vec<usize> = (0..tensors.all.len())
        .filter(|&tensor| can_lie_by_line(tensors, tensor, part, threads))
        .collect();
    let crossings = crossings(tensors, part, threads);
    let mut by_line = vec![false; tensors.all.len()];
    let cost = |by_line: &[bool]| crossings.iter().map(|of| of.cost(by_line)).sum::<f64>();
    let by_plane = cost(&by_line);
    for &tensor in &candidates {
        by_line[tensor] = true;
    }
    let mut least = cost(&by_line);
    loop {
        let before = least;
        for &tensor in &candidates {
            by_line[tensor] ^= true;
            let now = cost(&by_line);
            // By plane where that is the same.
            match now < least || (now == least && !by_line[tensor]) {
                true => least = now,
                false => by_line[tensor] ^= true,
            }
        }
        if least >= before {
            break;
        }
    }
    if least < by_plane {
        for (tensor, by_line) in tensors.all.iter_mut().zip(by_line) {
            let lines = tensor.layout.tile[0] / threads;
            tensor.layout.by_line = by_line.then_some(lines);
        }
    }
}

// Whether the stage that makes it and those that read it can do so by lines.
fn can_lie_by_line(tensors: &Tensors, tensor: usize, part: Part<'_>, threads: usize) -> bool {
    let Part { model, stages, .. } = part;
    let of = &tensors.all[tensor];
    let Layout {
        sites, tile, halo, ..
    } = of.layout;
    let each = tile[0] / threads;
    let by_windows = |stage: &Stage<'_>| match &stage.work {
        StageWork::Product(_) => true,
        StageWork::Pool(pool) => pool.window.is_some(),
        _ => false,
    };
    let keeps = |stage: &Stage<'_>| match &stage.work {
        StageWork::Product(weighted) => weighted.keeps_windows(tile, each),
        _ => true,
    };
    // Of several images, what has a halo stays by plane, and codes that are made in bands of lines: floats
    // gain more by lying by line than bands bring, since each channel is a plane.
    let one_row = |stage: &Stage<'_>| match &stage.work {
        StageWork::Product(weighted) => weighted.window.kernel[0] == 1,
        _ => false,
    };
    let several = sites != Sites::Tiles;
    let in_bands = several && of.layout.shape.kind != Kind::Floats;
    let made = |stage: &Stage<'_>| {
        let makes = Value::Node(stage.output) == of.value && by_windows(stage) && keeps(stage);
        makes && (one_row(stage) || !in_bands)
    };
    let begins = (part.begin).is_some_and(|begin| begin.value == of.value);
    let read = |stage: &Stage<'_>| {
        let each = matches!(
            stage.work,
            StageWork::Elementwise(_) | StageWork::Rearrange(_)
        );
        each || by_windows(stage)
    };
    let mut readers = stages.iter().filter(|s| s.inputs.contains(&of.value));
    let given = model.output() == of.value
        || model
            .steps()
            .iter()
            .any(|step| matches!(step.op, StepOp::Dequantize) && step.inputs.contains(&of.value));
    of.is_own
        // Fewer positions of a thread do not fill its registers.
        && each * tile[1] >= POSITIONS
        && halo.rows.iter().all(|&rows| rows <= tile[0])
        && !(several && halo.rows != [0, 0])
        && (stages.iter().any(made) || begins)
        && readers.all(read)
        && !given
}

/// What a stage reads of other cores' caches, or here and there, in bytes for each thread.
struct Crossing {
    output: Option<usize>,
    /// By operand.
    operands: Vec<Operand>,
    /// Where its output lies by line.
    weights: f64,
    halo: f64,
}

struct Operand {
    tensor: usize,
    /// What threads that share out lines read of others' lines.
    next: f64,
    /// What others have made of it, if they share it out by other units.
    others: f64,
    /// Whether a part of the output's planes needs only that part of its planes.
    by_plane: bool,
    /// What is read here and there where it lies by plane.
    scattered: f64,
}

impl Crossing {
    fn cost(&self, by_line: &[bool]) -> f64 {
        let lines = self.output.is_some_and(|output| by_line[output]);
        let operands = self.operands.iter().map(|of| {
            let crossing = match (lines, by_line[of.tensor]) {
                (true, true) => of.next,
                (false, false) if of.by_plane => 0.0,
                _ => of.others,
            };
            match by_line[of.tensor] {
                true => crossing,
                false => crossing + of.scattered,
            }
        });
        let more = if lines { self.weights + self.halo } else { 0.0 };
        operands.sum::<f64>() + more
    }
}

fn crossings(tensors: &Tensors, part: Part<'_>, threads: usize) -> Vec<Crossing> {
    let Part {
        model,
        stages,
        sites,
        ..
    } = part;
    let others = (threads - 1) as f64 / threads as f64;
    let on_cells = stages.iter().filter(|stage| stage.is_on_cells());
    let of = |stage: &Stage<'_>| {
        let output = tensors.find_own(Value::Node(stage.output));
        let halo = output.map(|output| tensors.all[output].layout.halo.rows);
        let weighted = match &stage.work {
            StageWork::Product(weighted) => Some(weighted),
            _ => None,
        };
        let operand = |(place, &value): (usize, &Value)| {
            let demand = stage.demand(model, place, sites);
            let tensor = tensors.find(value, demand)?;
            let layout = &tensors.all[tensor].layout;
            let line = (layout.planes() * layout.tile[1] * Cell::BYTES) as f64;
            let all = line * layout.tile[0] as f64;
            let next = line * demand.halo.rows.iter().sum::<usize>() as f64;
            let dense = weighted.is_some_and(|weighted| weighted.groups == 1);
            let one_by_one = weighted.is_some_and(|weighted| weighted.window.kernel == [1, 1]);
            let few = layout.planes() * POSITIONS * Cell::BYTES <= AT_ONCE;
            let scattered = match place == 0 && dense && one_by_one && !few {
                true => SCATTERED * all / threads as f64,
                false => 0.0,
            };
            Some(Operand {
                tensor,
                next: next.min(others * all),
                others: others * all,
                by_plane: place > 0 || !dense,
                scattered,
            })
        };
        Crossing {
            output,
            operands: stage
                .inputs
                .iter()
                .enumerate()
                .filter_map(operand)
                .collect(),
            weights: weighted.map_or(0.0, |of| WEIGHT * others * of.weights() as f64),
            halo: if halo.is_some_and(|rows| rows != [0, 0]) {
                HALO
            } else {
                0.0
            },
        }
    };
    on_cells.map(of).collect()
}
