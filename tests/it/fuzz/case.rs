//! A random network, the form it is brought into, and how that runs.

use burn_compress::compress::{Plan, Pruning, Quantization};
use burn_compress::engine::{Options, Tuning};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::{Activations, Calibrator};
use burn_compress::kernel::{Isa, Kernels};
use burn_compress::prune::{Pattern, Scope};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::generate::{Size, network};
use super::network::Network;

#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub network: Network,
    pub form: Form,
    /// The share of the weights of each layer that are removed, and channels of a block.
    pub removed: f64,
    pub block: usize,
    /// Rising.
    pub batches: Vec<usize>,
    /// The largest number of an input.
    pub range: f32,
    pub isa: Isa,
    pub threads: usize,
    pub measured: bool,
    /// Whether files and tuning caches are tried as well.
    pub again: bool,
    /// Other kernels than the chosen ones, too, from this one of all on.
    pub kernels: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    Floats {
        simplified: bool,
    },
    Integers {
        weights: Coding,
        activations: Coding,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coding {
    pub bits: u32,
    pub affine: bool,
    /// A scale for each channel; of weights alone.
    pub by_channel: bool,
}

impl Case {
    /// The one of a seed.
    pub fn of(seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed);
        // Images so large that a batch of sixteen is not near at once: they go alone, then together.
        let large = rng.random_range(0..1000);
        let (size, in_integers) = match large {
            0..25 => (Self::large(rng), false),
            25..27 => (Self::huge(rng), true),
            _ => {
                let in_integers = rng.random_bool(0.5);
                (Self::small(rng, in_integers), in_integers)
            }
        };
        let network = network(&size, rng);
        let has_weights = network.nodes.iter().any(|node| node.layer.is_product());
        let form = match in_integers && has_weights {
            true => Form::Integers {
                weights: Coding {
                    bits: pick(rng, &[8, 8, 8, 8, 8, 6, 5, 4, 3, 2]),
                    affine: rng.random_bool(0.3),
                    by_channel: rng.random_bool(0.7),
                },
                activations: Coding {
                    bits: pick(rng, &[8, 8, 8, 8, 8, 8, 7, 5, 4, 10]),
                    affine: rng.random_bool(0.7),
                    by_channel: false,
                },
            },
            false => Form::Floats {
                simplified: rng.random_bool(0.9),
            },
        };
        let batches = match large < 27 {
            true => vec![pick(rng, &[2, 3, 5]), pick(rng, &[16, 16, 16, 17, 20, 21])],
            false => {
                let few = rng.random_range(1..=8);
                let many = pick(rng, &[9, 11, 15, 16, 16, 17, 19, 26, 27, 31, 32, 33]);
                match rng.random_bool(0.7) {
                    true => vec![few, many],
                    false => vec![few],
                }
            }
        };
        Self {
            removed: match has_weights {
                true => pick(rng, &[0.0, 0.0, 0.0, 0.5, 0.8, 0.95]),
                false => 0.0,
            },
            block: pick(rng, &[0, 0, 0, 2, 4]),
            network,
            form,
            batches,
            range: pick(rng, &[1.0, 1.0, 1.0, 3.0, 0.2]),
            isa: pick(rng, &isas()),
            threads: pick(rng, &[1, 1, 1, 2]),
            measured: rng.random_bool(0.01),
            again: rng.random_bool(0.1),
            kernels: rng.random_bool(0.4).then(|| rng.random_range(0..60)),
        }
    }

    fn small(rng: &mut StdRng, weights: bool) -> Size {
        let channels = rng.random_range(1..=9);
        let length = |rng: &mut StdRng| pick(rng, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 14]);
        let input = match rng.random_range(0..20) {
            0..3 => vec![rng.random_range(1..=24)],
            3..8 => vec![channels, length(rng)],
            8..14 => {
                let side = length(rng);
                vec![channels, side, side]
            }
            _ => vec![channels, length(rng), length(rng)],
        };
        Size {
            input,
            nodes: rng.random_range(1..=7),
            elements: 1_500,
            products: 25_000,
            channels: pick(rng, &[3, 8, 12, 24]),
            weights,
        }
    }

    fn large(rng: &mut StdRng) -> Size {
        let inputs = [
            [8, 96, 96],
            [12, 72, 72],
            [4, 128, 128],
            [16, 60, 60],
            [3, 160, 150],
        ];
        Size {
            input: pick(rng, &inputs).to_vec(),
            nodes: rng.random_range(2..=5),
            elements: 110_000,
            products: 2_500_000,
            channels: 16,
            weights: rng.random_bool(0.4),
        }
    }

    fn huge(rng: &mut StdRng) -> Size {
        let inputs = [[8, 144, 144], [16, 112, 112], [4, 200, 190]];
        Size {
            input: pick(rng, &inputs).to_vec(),
            nodes: rng.random_range(2..=4),
            elements: 210_000,
            products: 4_000_000,
            channels: 16,
            weights: true,
        }
    }

    pub fn options(&self) -> Options {
        Options {
            threads: Some(self.threads),
            isa: Some(self.isa),
            tuning: match self.measured {
                true => Tuning::Measured,
                false => Tuning::Estimated,
            },
        }
    }

    /// What is attached to the module; none where that is nothing.
    pub fn plan(&self) -> Option<Plan> {
        let pruned = self.pruned();
        match self.form {
            Form::Floats { .. } => pruned,
            Form::Integers { weights, .. } => {
                let quantization = Quantization::to(weights.scheme());
                Some(pruned.unwrap_or_default().quantize(quantization))
            }
        }
    }

    /// Its pruning alone.
    pub fn pruned(&self) -> Option<Plan> {
        (self.removed > 0.0).then(|| {
            let pattern = match self.block {
                0 => Pattern::Unstructured,
                channels => Pattern::Block { channels },
            };
            let pruning = Pruning::to(self.removed)
                .scope(Scope::Layer)
                .pattern(pattern);
            Plan::new().prune(pruning)
        })
    }

    /// Whether it has codes of so many bits that it should be near its floats.
    pub fn is_fine(&self) -> bool {
        match self.form {
            Form::Floats { .. } => true,
            Form::Integers {
                weights,
                activations,
            } => weights.bits >= 8 && activations.bits >= 8,
        }
    }

    pub fn activations(&self) -> Option<Activations> {
        match self.form {
            Form::Floats { .. } => None,
            Form::Integers { activations, .. } => Some(Activations {
                scheme: activations.scheme(),
                calibrator: Calibrator::MinMax,
                ..Activations::bits(activations.bits).expect("2 to 16 bits")
            }),
        }
    }
}

impl Coding {
    fn scheme(self) -> Scheme {
        let mapping = match self.affine {
            true => Mapping::Affine,
            false => Mapping::Symmetric,
        };
        let granularity = match self.by_channel {
            true => Granularity::Channel,
            false => Granularity::Tensor,
        };
        Scheme::new(self.bits, mapping, granularity).expect("2 to 16 bits")
    }
}

fn pick<T: Clone>(rng: &mut StdRng, of: &[T]) -> T {
    of.choose(rng).expect("there are some").clone()
}

/// The best of this machine most times.
fn isas() -> Vec<Isa> {
    let best = Kernels::detect().isa();
    let here = Isa::ALL
        .into_iter()
        .filter(|isa| Kernels::of(*isa).is_some());
    here.chain([best, best]).collect()
}
