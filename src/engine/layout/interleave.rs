//! Which tensors lie row-interleaved, and are made so.
//!
//! A kernel of one row and column reads few positions of many planes. Where these lie apart, a processor that
//! fetches what lies beside them fills its L1 cache with what is needed later; the lines of all planes
//! lie beside each other.
//!
//! Threads that share out a layer by its filters read all of its input, of which another core has just
//! written a part: large tensors cross between the cores' caches at every layer. Threads that share out
//! lines read again what they have written, but for the lines next to another thread's. They read all
//! weights, though, and make a halo apart, of others' lines.

use super::Layout;
use super::budget::{L1_BYTES, POSITIONS};
use super::demand::Tensors;
use super::lanes::LaneMapping;
use super::part::Part;
use crate::engine::lower::node::{FusedNode, NodeWork};
use crate::engine::lower::shape::Kind;
use crate::kernel::VectorBlock;
use crate::network::StepOp;
use crate::network::Value;

/// What a halo that is made apart costs, as bytes of another core's tensor.
const HALO: f64 = 2.0 * 1024.0;
/// What a byte costs that is read here and there.
const SCATTERED: f64 = 0.5;
/// What a byte of weights costs, of another core's tensor one: they come from memory in order, and of
/// sparse ones there are few.
const WEIGHT: f64 = 0.1;

/// Lays tensors row-interleaved where that saves more than it costs.
pub(in crate::engine) fn lay(tensors: &mut Tensors, part: Part<'_>, threads: usize) {
    let candidates: Vec<usize> = (0..tensors.all.len())
        .filter(|&tensor| can_be_interleaved(tensors, tensor, part, threads))
        .collect();
    let crossings = crossings(tensors, part, threads);
    let mut interleaved = vec![false; tensors.all.len()];
    let cost = |interleaved: &[bool]| crossings.iter().map(|of| of.cost(interleaved)).sum::<f64>();
    let planar = cost(&interleaved);
    for &tensor in &candidates {
        interleaved[tensor] = true;
    }
    let mut least = cost(&interleaved);
    loop {
        let before = least;
        for &tensor in &candidates {
            interleaved[tensor] ^= true;
            let now = cost(&interleaved);
            // By plane where that is the same.
            match now < least || (now == least && !interleaved[tensor]) {
                true => least = now,
                false => interleaved[tensor] ^= true,
            }
        }
        if least >= before {
            break;
        }
    }
    if least < planar {
        for (tensor, interleaved) in tensors.all.iter_mut().zip(interleaved) {
            let lines = tensor.layout.tile[0] / threads;
            tensor.layout.interleaved = interleaved.then_some(lines);
        }
    }
}

// Whether the node that makes it and those that read it can do so by lines.
fn can_be_interleaved(tensors: &Tensors, tensor: usize, part: Part<'_>, threads: usize) -> bool {
    let Part { model, nodes, .. } = part;
    let of = &tensors.all[tensor];
    let Layout {
        lanes, tile, halo, ..
    } = of.layout;
    let each = tile[0] / threads;
    let by_windows = |node: &FusedNode<'_>| match &node.work {
        NodeWork::Product(_) => true,
        NodeWork::Pool(pool) => pool.window.is_some(),
        _ => false,
    };
    let keeps = |node: &FusedNode<'_>| match &node.work {
        NodeWork::Product(weighted) => weighted.keeps_windows(tile, each),
        _ => true,
    };
    // Of several samples, what has a halo stays planar, and codes that are made in bands of lines: floats
    // gain more by lying row-interleaved than bands bring, since each channel is a plane.
    let one_row = |node: &FusedNode<'_>| match &node.work {
        NodeWork::Product(weighted) => weighted.window.kernel[0] == 1,
        _ => false,
    };
    let several = lanes != LaneMapping::Tiles;
    let in_bands = several && of.layout.shape.kind != Kind::Floats;
    let made = |node: &FusedNode<'_>| {
        let makes = Value::Node(node.output) == of.value && by_windows(node) && keeps(node);
        makes && (one_row(node) || !in_bands)
    };
    let begins = (part.begin).is_some_and(|begin| begin.value == of.value);
    let read = |node: &FusedNode<'_>| {
        let each = matches!(node.work, NodeWork::Elementwise(_) | NodeWork::Rearrange(_));
        each || by_windows(node)
    };
    let mut readers = nodes.iter().filter(|s| s.inputs.contains(&of.value));
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
        && (nodes.iter().any(made) || begins)
        && readers.all(read)
        && !given
}

/// What a node reads of other cores' caches, or here and there, in bytes for each thread.
struct Crossing {
    output: Option<usize>,
    /// By operand.
    operands: Vec<Operand>,
    /// Where its output lies row-interleaved.
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
    planar: bool,
    /// What is read here and there where it lies planar.
    scattered: f64,
}

impl Crossing {
    fn cost(&self, interleaved: &[bool]) -> f64 {
        let lines = self.output.is_some_and(|output| interleaved[output]);
        let operands = self.operands.iter().map(|of| {
            let crossing = match (lines, interleaved[of.tensor]) {
                (true, true) => of.next,
                (false, false) if of.planar => 0.0,
                _ => of.others,
            };
            match interleaved[of.tensor] {
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
        nodes,
        lanes,
        ..
    } = part;
    let others = (threads - 1) as f64 / threads as f64;
    let on_blocks = nodes.iter().filter(|node| node.is_on_blocks());
    let of = |node: &FusedNode<'_>| {
        let output = tensors.find_own(Value::Node(node.output));
        let halo = output.map(|output| tensors.all[output].layout.halo.rows);
        let weighted = match &node.work {
            NodeWork::Product(weighted) => Some(weighted),
            _ => None,
        };
        let operand = |(place, &value): (usize, &Value)| {
            let demand = node.demand(model, place, lanes);
            let tensor = tensors.find(value, demand)?;
            let layout = &tensors.all[tensor].layout;
            let line = (layout.planes() * layout.tile[1] * VectorBlock::BYTES) as f64;
            let all = line * layout.tile[0] as f64;
            let next = line * demand.halo.rows.iter().sum::<usize>() as f64;
            let dense = weighted.is_some_and(|weighted| weighted.groups == 1);
            let one_by_one = weighted.is_some_and(|weighted| weighted.window.kernel == [1, 1]);
            let few = layout.planes() * POSITIONS * VectorBlock::BYTES <= L1_BYTES;
            let scattered = match place == 0 && dense && one_by_one && !few {
                true => SCATTERED * all / threads as f64,
                false => 0.0,
            };
            Some(Operand {
                tensor,
                next: next.min(others * all),
                others: others * all,
                planar: place > 0 || !dense,
                scattered,
            })
        };
        Crossing {
            output,
            operands: node.inputs.iter().enumerate().filter_map(operand).collect(),
            weights: weighted.map_or(0.0, |of| WEIGHT * others * of.weights() as f64),
            halo: if halo.is_some_and(|rows| rows != [0, 0]) {
                HALO
            } else {
                0.0
            },
        }
    };
    on_blocks.map(of).collect()
}
