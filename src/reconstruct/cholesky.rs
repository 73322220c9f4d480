//! Symmetric positive definite matrices in double precision, stored by rows.

use super::threads::in_ranges;

/// Rows of a block that stays in the cache.
const BLOCK: usize = 64;

/// The sum of products, in eight running sums: what vector units add at once.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// A lower triangle `L` with `L Lᵀ = matrix`.
#[derive(Debug, Clone)]
pub(super) struct Factor {
    size: usize,
    rows: Vec<f64>,
}

impl Factor {
    /// The factor of a matrix, of which the lower triangle is read. None where it is not positive
    /// definite.
    pub fn new(mut matrix: Vec<f64>, size: usize) -> Option<Self> {
        for start in (0..size).step_by(BLOCK) {
            let end = (start + BLOCK).min(size);
            // The rows of this block are complete up to its first column.
            for row in start..end {
                let (above, below) = matrix.split_at_mut(row * size);
                let below = &mut below[..size];
                for column in 0..=row {
                    let other = &above[column.min(row.saturating_sub(1)) * size..];
                    if column < start {
                        continue;
                    }
                    if column == row {
                        let pivot = below[row] - dot(&below[..row], &below[..row]);
                        if !(pivot > 0.0 && pivot.is_finite()) {
                            return None;
                        }
                        below[row] = pivot.sqrt();
                    } else {
                        let sum = dot(&below[..column], &other[..column]);
                        below[column] = (below[column] - sum) / other[column];
                    }
                }
            }
            // Those below it get its columns.
            let (above, below) = matrix.split_at_mut(end * size);
            let block = &above[start * size..];
            let work = (size - end) * (end - start) * end;
            in_ranges(below, size, work, |rows| {
                for row in rows.chunks_mut(size) {
                    for column in start..end {
                        let other = &block[(column - start) * size..];
                        let sum = dot(&row[..column], &other[..column]);
                        row[column] = (row[column] - sum) / other[column];
                    }
                }
            });
        }
        Some(Self { size, rows: matrix })
    }

    /// Row `i` of the factor, up to its diagonal.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.size..][..=i]
    }

    /// The solution of `matrix x = right`.
    pub fn solve(&self, right: &mut [f64]) {
        self.forward(right, 0);
        for i in (0..self.size).rev() {
            let row = self.row(i);
            let value = right[i] / row[i];
            right[i] = value;
            for (x, l) in right[..i].iter_mut().zip(row) {
                *x -= value * l;
            }
        }
    }

    // The solution of `L x = right`, whose values before `first` are zero.
    fn forward(&self, right: &mut [f64], first: usize) {
        for i in first..self.size {
            let row = self.row(i);
            let sum = dot(&row[first..i], &right[first..i]);
            right[i] = (right[i] - sum) / row[i];
        }
    }

    /// The inverse of the matrix.
    pub fn inverse(&self) -> Vec<f64> {
        let size = self.size;
        // Row `j` is column `j` of the inverse of `L`.
        let mut columns = vec![0.0; size * size];
        let mut order: Vec<(usize, &mut [f64])> = columns.chunks_mut(size).enumerate().collect();
        let cube = size * size * size;
        in_ranges(&mut order, 1, cube / 6, |some| {
            for (j, column) in some {
                column[*j] = 1.0;
                self.forward(column, *j);
            }
        });
        let mut inverse = vec![0.0; size * size];
        let mut rows: Vec<(usize, &mut [f64])> = inverse.chunks_mut(size).enumerate().collect();
        in_ranges(&mut rows, 1, cube / 6, |some| {
            for (i, row) in some {
                for (j, value) in row.iter_mut().enumerate().take(*i + 1) {
                    let [one, other] = [*i, j].map(|k| &columns[k * size + *i..][..size - *i]);
                    *value = dot(one, other);
                }
            }
        });
        for i in 0..size {
            for j in 0..i {
                inverse[j * size + i] = inverse[i * size + j];
            }
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::Factor;

    // Of a random matrix times its transpose.
    fn matrix(size: usize) -> Vec<f64> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 33) as f64 / (1u64 << 31) as f64 - 0.5
        };
        let a: Vec<f64> = (0..size * size).map(|_| next()).collect();
        let mut product = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..size {
                let sum: f64 = (0..size).map(|k| a[i * size + k] * a[j * size + k]).sum();
                product[i * size + j] = sum + if i == j { 0.1 } else { 0.0 };
            }
        }
        product
    }

    #[test]
    fn solves_and_inverts() {
        for size in [1, 5, 64, 65, 150] {
            let a = matrix(size);
            let factor = Factor::new(a.clone(), size).unwrap();
            let wanted: Vec<f64> = (0..size).map(|i| i as f64 - 3.0).collect();
            let times = |x: &[f64]| -> Vec<f64> {
                let row = |i: usize| (0..size).map(|j| a[i * size + j] * x[j]).sum();
                (0..size).map(row).collect()
            };
            let mut found = times(&wanted);
            factor.solve(&mut found);
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
            }
            let inverse = factor.inverse();
            for i in 0..size {
                let product = times(&inverse[i * size..][..size]);
                for (j, value) in product.into_iter().enumerate() {
                    let unit = if i == j { 1.0 } else { 0.0 };
                    assert!((value - unit).abs() < 1e-7, "{size}: {i} {j} {value}");
                }
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_no_factor() {
        assert!(Factor::new(vec![1.0, 0.0, 2.0, 1.0], 2).is_none());
        assert!(Factor::new(vec![f64::NAN], 1).is_none());
        assert!(Factor::new(vec![0.0; 9], 3).is_none());
    }
}
