//! Random networks: any layer that fits what is there, in any order.

mod fit;

use burn_compress::network::Binary;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::any::Any;
use super::function::{Along, Pair};
use super::layer::Layer;
use super::movement::Movement;
use super::network::{Net, Network, Node};
use crate::backends::models::spread;

/// How large a network may be.
#[derive(Debug, Clone)]
pub struct Size {
    /// Dimensions of an image.
    pub input: Vec<usize>,
    pub nodes: usize,
    /// Elements of a tensor, and multiplications of a layer, for one image.
    pub elements: usize,
    pub products: usize,
    /// Channels that a layer makes.
    pub channels: usize,
    /// Whether the first layer has weights.
    pub weights: bool,
}

/// Images at which a network is tried while it is made.
const IMAGES: usize = 2;
/// Numbers beyond this would hide errors of others.
const LARGEST: f32 = 300.0;

pub fn network(size: &Size, rng: &mut StdRng) -> Network {
    let count: usize = size.input.iter().product();
    let numbers = (0..count * IMAGES).map(|index| 2.0 * spread(index + 13) - 1.0);
    let dims = [&[IMAGES], &size.input[..]].concat();
    let mut making = Making {
        size,
        rng,
        network: Network {
            input: size.input.clone(),
            nodes: Vec::new(),
        },
        net: Net::new(),
        values: vec![Any::new(numbers.collect(), &dims)],
        exact: vec![true],
    };
    for _ in 0..size.nodes * 8 {
        if making.network.nodes.len() >= size.nodes {
            break;
        }
        making.grow();
    }
    making.end();
    making.network.without_unused()
}

struct Making<'a> {
    size: &'a Size,
    rng: &'a mut StdRng,
    network: Network,
    net: Net,
    values: Vec<Any>,
    /// Whether a value has the same bits, however its network is computed.
    exact: Vec<bool>,
}

impl Making<'_> {
    fn grow(&mut self) {
        let last = self.values.len() - 1;
        // Several layers read some values.
        let from = match self.rng.random_bool(0.15) {
            true => self.rng.random_range(0..=last),
            false => last,
        };
        let dims = self.values[from].dims();
        let first_weights = self.size.weights && self.network.nodes.is_empty();
        let loose = self.loose();
        let others: Vec<usize> = match loose.len() {
            0 | 1 => (0..=last).collect(),
            _ => loose,
        };
        let choice = match first_weights {
            true => 0,
            false => self.rng.random_range(0..100),
        };
        let layer = match choice {
            0..26 => self.product(&dims),
            26..31 => self.norm(&dims),
            31..45 => self.function(self.exact[from]),
            45..56 => return self.two(from, &others),
            56..60 => Some(self.with_constant(&dims)),
            60..62 => (dims.len() > 2).then_some(Layer::Gate),
            62..64 => (dims.len() > 2).then_some(Layer::Gram),
            64..66 => Some(Layer::Softmax {
                axis: self.axis(&dims),
            }),
            66..76 => self.pool(&dims),
            76..80 => Some(self.reduced(&dims)),
            80..96 => self.movement(&dims),
            _ => {
                let along = *Along::ALL.choose(self.rng).unwrap_or(&Along::Max);
                Some(Layer::Along(along, self.axis(&dims)))
            }
        };
        if let Some(layer) = layer {
            self.push(layer, vec![from]);
        }
    }

    // Values that nothing reads.
    fn loose(&self) -> Vec<usize> {
        let read = |value: usize| {
            self.network
                .nodes
                .iter()
                .any(|node| node.from.contains(&value))
        };
        (0..self.values.len())
            .filter(|&value| !read(value))
            .collect()
    }

    // All values are in the output, most times.
    fn end(&mut self) {
        let loose = self.loose();
        if loose.len() < 2 || self.rng.random_bool(0.2) {
            return;
        }
        let mut flat = Vec::new();
        for value in loose {
            let dims = self.values[value].dims();
            if dims.len() == 2 {
                flat.push(value);
                continue;
            }
            let all = dims[1..].iter().product();
            if self.push(Layer::Movement(Movement::Reshape(vec![all])), vec![value]) {
                flat.push(self.values.len() - 1);
            }
        }
        if flat.len() > 1 {
            self.push(Layer::Concatenate { axis: 1 }, flat);
        }
    }

    // Adds a layer, if what it gives is of use.
    fn push(&mut self, layer: Layer, from: Vec<usize>) -> bool {
        let exact = from.iter().all(|&from| self.exact[from]) && layer.keeps_bits();
        let salt = self.network.nodes.len() * 31 + 1;
        let has_part = layer.has_part();
        let node = Node { layer, from, salt };
        let value = self.net.push(&node, &self.values);
        let dims = value.dims();
        let each: usize = dims[1..].iter().product();
        let numbers = value.values();
        let fits = each <= self.size.elements && (2..=4).contains(&dims.len());
        let fine = |x: &f32| x.abs() <= LARGEST;
        let varies = numbers.iter().any(|x| *x != numbers[0]);
        if !fits || !numbers.iter().all(fine) || !varies {
            if has_part {
                self.net.pop();
            }
            return false;
        }
        self.values.push(value);
        self.exact.push(exact);
        self.network.nodes.push(node);
        true
    }

    fn axis(&mut self, dims: &[usize]) -> usize {
        self.rng.random_range(1..dims.len())
    }

    fn two(&mut self, from: usize, others: &[usize]) {
        let dims = self.values[from].dims();
        let rank = dims.len();
        let broadcasts = |of: &[usize]| {
            of.len() == rank && std::iter::zip(&dims, of).all(|(a, b)| a == b || *b == 1)
        };
        let one_apart = |of: &[usize]| {
            of.len() == rank
                && std::iter::zip(&dims, of)
                    .skip(1)
                    .filter(|(a, b)| a != b)
                    .count()
                    <= 1
        };
        let multiplies = |of: &[usize]| {
            let fits = of.len() == rank && rank > 2 && dims[rank - 1] == of[rank - 2];
            fits && dims[1..rank - 2] == of[1..rank - 2]
        };
        let fits = |of: &[usize]| broadcasts(of) || one_apart(of) || multiplies(of);
        let of = |value: &usize| self.values[*value].dims();
        let (near, all): (Vec<usize>, Vec<usize>) = (
            others
                .iter()
                .copied()
                .filter(|value| fits(&of(value)))
                .collect(),
            (0..self.values.len())
                .filter(|value| fits(&of(value)))
                .collect(),
        );
        let near = if near.iter().all(|&value| value == from) {
            all
        } else {
            near
        };
        let other = *near.choose(self.rng).unwrap_or(&from);
        let of_other = self.values[other].dims();
        if multiplies(&of_other) && self.rng.random_bool(0.5) {
            self.push(Layer::MatMul, vec![from, other]);
            return;
        }
        if broadcasts(&of_other) && self.rng.random_bool(0.65) {
            let jumps = self.exact[from] && self.exact[other];
            let pair = *Pair::ALL.choose(self.rng).unwrap_or(&Pair::Where);
            let binary = [
                Binary::Add,
                Binary::Add,
                Binary::Subtract,
                Binary::Multiply,
                Binary::Divide,
            ];
            let layer = match dims == of_other && self.rng.random_bool(0.2) {
                true if jumps || !pair.jumps() => Layer::Pair(pair),
                _ => Layer::Binary(*binary.choose(self.rng).unwrap_or(&Binary::Add)),
            };
            self.push(layer, vec![from, other]);
            return;
        }
        let axis = (1..rank).find(|&axis| dims[axis] != of_other[axis]);
        if one_apart(&of_other) {
            let first = if self.rng.random_bool(0.7) {
                1
            } else {
                self.axis(&dims)
            };
            let mut all = vec![from, other];
            if self.rng.random_bool(0.2) {
                all.push(from);
            }
            let axis = axis.unwrap_or(first);
            self.push(Layer::Concatenate { axis }, all);
        }
    }
}
