//! Numbers, activations and grids by chance.

#![allow(dead_code, reason = "no binary uses all of it")]

use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::network::{Activation, Dim, Grid, Rescale};

/// Numbers without end, the same for the same seed.
#[derive(Clone)]
pub struct Noise(pub u64);

impl Noise {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }

    pub fn within(&mut self, low: i32, high: i32) -> i32 {
        low + self.below((high - low + 1) as usize) as i32
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Factors of every kind: many that lead to ties, some that saturate.
    pub fn factor(&mut self) -> f32 {
        let sign = self.pick(&[1.0, 1.0, -1.0]);
        sign * match self.below(4) {
            0 => self.pick(&[0.5, 0.25, 0.125, 1.5, 2.0f32.powi(-9)]),
            1 => 0.003,
            2 => self.below(1000) as f32 / 7321.0,
            _ => 1.0 / 3.0,
        }
    }

    pub fn factors(&mut self, channels: usize) -> Vec<f32> {
        let count = self.pick(&[1, channels]);
        (0..count).map(|_| self.factor()).collect()
    }

    pub fn grid(&mut self, bits: u32) -> Grid {
        let mapping = self.pick(&[Mapping::Symmetric, Mapping::Affine]);
        let scheme = Scheme::new(bits, mapping, Granularity::Tensor).unwrap();
        let (low, high) = scheme.code_range();
        let zero = match mapping {
            Mapping::Symmetric => 0,
            Mapping::Affine => self.within(low, high),
        };
        Grid::new(scheme, self.pick(&[1.0, 0.1, 0.37]), zero).unwrap()
    }

    pub fn activation(&mut self) -> Option<Activation> {
        let (min, max) = (-1.5, 6.25);
        let high = Activation::Clamp {
            min: f32::NEG_INFINITY,
            max,
        };
        self.pick(&[
            None,
            Some(Activation::Relu),
            Some(Activation::Clamp { min, max }),
            Some(high),
        ])
    }

    pub fn rescale(&mut self, channels: usize, residual: bool) -> Rescale {
        let offset = self.factors(channels);
        Rescale {
            multiplier: self.factors(channels),
            offset: self.pick(&[true, false]).then_some(offset),
            residual: residual.then(|| self.factor()),
            activation: self.activation(),
        }
    }

    /// Centred codes with many at both ends.
    pub fn codes(&mut self, grid: &Grid, count: usize) -> Vec<i32> {
        let mut code = || match self.below(4) {
            0 => grid.low(),
            1 => grid.high(),
            _ => self.within(grid.low(), grid.high()),
        };
        (0..count).map(|_| code()).collect()
    }
}

/// These dimensions for each sample.
pub fn per_image(dims: &[usize]) -> Vec<Dim> {
    let fixed = dims.iter().copied().map(Dim::Fixed);
    std::iter::once(Dim::Batch(1)).chain(fixed).collect()
}
