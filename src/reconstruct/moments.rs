//! What the solver knows of a layer: sums over its inputs and outputs.

use burn::tensor::Tensor;

use super::cholesky::{Factor, dot};
use super::threads::in_ranges;
use crate::graph::{AnyTensor, GraphError};

/// Sums over all places of all samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Moments {
    pub groups: usize,
    /// Inputs of a filter.
    pub columns: usize,
    /// Filters of a group.
    pub rows: usize,
    pub count: f64,
    /// Of the inputs, and of their products.
    x: Vec<f64>,
    xx: Vec<f64>,
    /// Of the outputs wanted, of their squares, and of their products with the inputs.
    t: Vec<f64>,
    tt: Vec<f64>,
    tx: Vec<f64>,
}

impl Moments {
    pub fn new([groups, rows, columns]: [usize; 3]) -> Self {
        Self {
            groups,
            columns,
            rows,
            count: 0.0,
            x: vec![0.0; groups * columns],
            xx: vec![0.0; groups * columns * columns],
            t: vec![0.0; groups * rows],
            tt: vec![0.0; groups * rows],
            tx: vec![0.0; groups * rows * columns],
        }
    }

    /// Of so many places of a batch, in all of `total` places, those that a layer needs: every n-th. More
    /// than a hundred for each column tell no more.
    pub fn stride(columns: usize, total: usize) -> usize {
        (total / (columns.max(1) * PLACES)).max(1)
    }

    /// Adds a batch: inputs `[groups, columns, places]` and the outputs wanted, `[groups, rows, places]`.
    pub fn add(
        &mut self,
        layer: &str,
        inputs: Tensor<3>,
        wanted: Tensor<3>,
    ) -> Result<(), GraphError> {
        self.count += inputs.dims()[2] as f64;
        let add = |sums: &mut [f64], tensor: Tensor<3>| -> Result<(), GraphError> {
            for (sum, value) in sums.iter_mut().zip(AnyTensor::from(tensor).read(layer)?) {
                *sum += f64::from(value);
            }
            Ok(())
        };
        let turned = inputs.clone().swap_dims(1, 2);
        add(&mut self.xx, inputs.clone().matmul(turned.clone()))?;
        add(&mut self.x, inputs.sum_dim(2))?;
        add(&mut self.tx, wanted.clone().matmul(turned))?;
        add(&mut self.t, wanted.clone().sum_dim(2))?;
        add(&mut self.tt, wanted.powi_scalar(2).sum_dim(2))
    }

    /// The same of a layer of which the squares of the input channels alone are known: its inputs count as
    /// independent, and its own weights as the best.
    pub fn of_squares(
        [groups, rows, columns]: [usize; 3],
        squares: &[f64],
        count: f64,
        weights: &[f32],
    ) -> Self {
        let mut moments = Self::new([groups, rows, columns]);
        moments.count = count;
        for group in 0..groups {
            for column in 0..columns {
                let place = group * columns + column;
                moments.xx[place * columns + column] = squares[place];
            }
        }
        for (row, weights) in weights.chunks(columns).enumerate() {
            let group = row / rows;
            for (column, weight) in weights.iter().enumerate() {
                let weight = f64::from(*weight);
                let square = squares[group * columns + column];
                moments.tx[row * columns + column] = weight * square;
                moments.tt[row] += weight * weight * square;
            }
        }
        moments
    }

    /// Whether all is a number.
    pub fn is_finite(&self) -> bool {
        let sums = [&self.xx, &self.tt, &self.tx];
        (sums.into_iter().flatten()).all(|value| value.is_finite())
    }

    /// Whether the inputs are zero throughout.
    pub fn is_dead(&self) -> bool {
        let step = self.columns + 1;
        let diagonals = self.xx.chunks(self.columns * self.columns);
        diagonals
            .flat_map(|xx| xx.iter().step_by(step))
            .all(|square| *square == 0.0)
    }

    /// The least-squares problem of each group: around means where the layer can take up a constant.
    pub fn problems(&self, weights: &[f32], centred: bool) -> Vec<Problem> {
        (0..self.groups)
            .map(|group| self.problem(group, weights, centred))
            .collect()
    }

    fn problem(&self, group: usize, weights: &[f32], centred: bool) -> Problem {
        let (columns, rows, count) = (self.columns, self.rows, self.count.max(1.0));
        let centre = if centred { 1.0 } else { 0.0 };
        let x: Vec<f64> = (self.x[group * columns..][..columns].iter())
            .map(|sum| sum / count * centre)
            .collect();
        let mut h: Vec<f64> = self.xx[group * columns * columns..][..columns * columns].to_vec();
        let squares: f64 = h.iter().step_by(columns + 1).sum();
        let noise = ROUNDING * squares / count;
        for (row, a) in h.chunks_mut(columns).zip(&x) {
            for (value, b) in row.iter_mut().zip(&x) {
                *value = *value / count - a * b;
            }
        }
        let weights = &weights[group * rows * columns..][..rows * columns];
        let weights: Vec<f64> = weights.iter().copied().map(f64::from).collect();
        let mut b: Vec<f64> = Vec::with_capacity(rows * columns);
        let mut constant = Vec::with_capacity(rows);
        for row in group * rows..(group + 1) * rows {
            let t = self.t[row] / count * centre;
            let tx = &self.tx[row * columns..][..columns];
            b.extend(tx.iter().zip(&x).map(|(tx, x)| tx / count - t * x));
            constant.push((self.tt[row] / count - t * t).max(0.0));
        }
        Problem::new(rows, h, b, constant, &weights, noise)
    }
}

/// The weights of a group of filters, each of which has the squared error
/// `w h wᵀ - 2 w bᵀ + constant`.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub columns: usize,
    pub rows: usize,
    pub h: Vec<f64>,
    pub b: Vec<f64>,
    pub constant: Vec<f64>,
    pub factor: Factor,
    /// The best weights.
    pub best: Vec<f64>,
}

/// Places that are seen for each column.
const PLACES: usize = 128;

/// The least damping, as a share of the mean diagonal.
const DAMPING: f64 = 0.01;

/// What rounding may make of squares, as a share: differences below it say nothing.
pub(super) const ROUNDING: f64 = 1e-6;

impl Problem {
    // `noise` is what the greatest eigenvalue may be by rounding alone.
    fn new(
        rows: usize,
        mut h: Vec<f64>,
        mut b: Vec<f64>,
        mut constant: Vec<f64>,
        weights: &[f64],
        noise: f64,
    ) -> Self {
        let columns = b.len() / rows.max(1);
        let diagonal: f64 = h.iter().step_by(columns + 1).sum();
        // A group without inputs keeps its weights.
        let mean = match diagonal / columns as f64 {
            mean if mean > 0.0 && mean.is_finite() => mean,
            _ => 1.0,
        };
        let damp = |h: &mut [f64], by: f64| {
            for value in h.iter_mut().step_by(columns + 1) {
                *value += by;
            }
        };
        let mut damping = (mean * DAMPING).max(noise);
        damp(&mut h, damping);
        // Rounding may leave a matrix that is not positive definite.
        let factor = loop {
            if let Some(factor) = Factor::new(h.clone(), columns) {
                break factor;
            }
            damp(&mut h, damping * 9.0);
            damping *= 10.0;
        };
        // The damping draws towards the weights as they are.
        for ((b, constant), weights) in
            (b.chunks_mut(columns).zip(&mut constant)).zip(weights.chunks(columns))
        {
            for (b, weight) in b.iter_mut().zip(weights) {
                *b += damping * weight;
            }
            *constant += damping * dot(weights, weights);
        }
        let mut best = b.clone();
        in_ranges(&mut best, columns, rows * columns * columns, |rows| {
            for row in rows.chunks_mut(columns) {
                factor.solve(row);
            }
        });
        Self {
            columns,
            rows,
            h,
            b,
            constant,
            factor,
            best,
        }
    }

    /// A row of the right side.
    pub fn b_of(&self, row: usize) -> &[f64] {
        &self.b[row * self.columns..][..self.columns]
    }

    /// `h w`.
    pub fn times(&self, weights: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.columns];
        for (row, weight) in self.h.chunks(self.columns).zip(weights) {
            if *weight != 0.0 {
                for (sum, h) in product.iter_mut().zip(row) {
                    *sum += weight * h;
                }
            }
        }
        product
    }

    /// The squared error of a filter.
    pub fn error(&self, row: usize, weights: &[f64]) -> f64 {
        let square = dot(&self.times(weights), weights);
        let error = square - 2.0 * dot(weights, self.b_of(row)) + self.constant[row];
        error.max(0.0)
    }

    /// The best weights of a filter that is zero where `removed`.
    pub fn without(&self, row: usize, removed: &[bool]) -> Vec<f64> {
        let left: Vec<usize> = (0..self.columns).filter(|c| !removed[*c]).collect();
        let mut weights = vec![0.0; self.columns];
        if left.len() == self.columns {
            weights.copy_from_slice(&self.best[row * self.columns..][..self.columns]);
            return weights;
        }
        let mut values: Vec<f64> = left.iter().map(|c| self.b_of(row)[*c]).collect();
        if let Some(factor) = Factor::new(self.part(&left), left.len()) {
            factor.solve(&mut values);
            for (column, value) in left.into_iter().zip(values) {
                weights[column] = value;
            }
        }
        weights
    }

    /// The matrix of these columns alone.
    pub fn part(&self, columns: &[usize]) -> Vec<f64> {
        let mut part = Vec::with_capacity(columns.len() * columns.len());
        for row in columns {
            let row = &self.h[row * self.columns..][..self.columns];
            part.extend(columns.iter().map(|column| row[*column]));
        }
        part
    }
}
