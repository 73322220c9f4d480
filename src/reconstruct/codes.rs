//! The codes of filters: each rounding is made up for by those that follow (Frantar et al. 2023,
//! "GPTQ"), then codes and scales are moved by turns as long as the output's error falls.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use burn::tensor::{Device, Tensor, TensorData};

use super::cholesky::{Factor, dot};
use super::moments::Problem;
use super::threads::each;
use crate::format::{Granularity, Scheme};
use crate::quantize::Parameters;

/// Ranges that are tried, as shares of that of the weights.
const SHARES: usize = 40;
/// Around the share of least error by weight, these are tried in full.
const AROUND: [f64; 6] = [0.7, 0.8, 0.9, 1.0, 1.1, 1.25];
/// Turns of codes and scales, and sweeps over the codes in each.
const TURNS: usize = 8;
const SWEEPS: usize = 16;

/// A filter to be quantized.
pub(super) struct Task<'a> {
    pub problem: &'a Problem,
    /// The group of the problem, and the filter's row in it.
    pub group: usize,
    pub row: usize,
    pub removed: Option<&'a [bool]>,
    /// What an error of its output counts, against other filters of the same scale.
    pub weight: f64,
}

/// Weights that have codes, in rows, and their ranges.
pub(super) struct Coded {
    pub values: Vec<f64>,
    pub scale: Vec<f32>,
    pub zero_point: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    scale: f32,
    zero_point: i32,
}

// The columns of a filter from the least to the greatest diagonal, and their factor.
#[derive(Clone)]
struct Order {
    columns: Vec<usize>,
    factor: Factor,
}

impl Order {
    fn new(problem: &Problem, removed: Option<&[bool]>) -> Option<Self> {
        let left = (0..problem.columns).filter(|c| removed.is_none_or(|removed| !removed[*c]));
        let mut columns: Vec<usize> = left.collect();
        let diagonal = |c: usize| problem.h[c * problem.columns + c];
        columns.sort_by(|a, b| diagonal(*a).total_cmp(&diagonal(*b)));
        let factor = Factor::new(problem.part(&columns), columns.len())?;
        Some(Self { columns, factor })
    }
}

// A filter while it is quantized.
struct Filter<'a> {
    task: &'a Task<'a>,
    order: Cow<'a, Order>,
    best: Vec<f64>,
}

/// Codes of all filters of a layer, whose rows are those of the tasks.
pub(super) fn codes(tasks: &[Task<'_>], scheme: &Scheme, device: &Device) -> Option<Coded> {
    let columns = tasks.first()?.problem.columns;
    // Filters that keep all columns share the factor of their group.
    let mut shared: BTreeMap<usize, Order> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.removed.is_none()) {
        if let Entry::Vacant(entry) = shared.entry(task.group) {
            entry.insert(Order::new(task.problem, None)?);
        }
    }
    let cube = columns * columns * columns / 6 * tasks.len();
    let filters = each(tasks, cube, |task| {
        let order = match (task.removed, shared.get(&task.group)) {
            (None, Some(order)) => Cow::Borrowed(order),
            (removed, _) => Cow::Owned(Order::new(task.problem, removed)?),
        };
        let none = vec![false; columns];
        let removed = task.removed.unwrap_or(&none);
        Some(Filter {
            task,
            order,
            best: task.problem.without(task.row, removed),
        })
    });
    let filters: Vec<Filter<'_>> = filters.into_iter().collect::<Option<_>>()?;

    let values: Vec<f32> = (filters.iter().flat_map(|f| &f.best))
        .map(|v| *v as f32)
        .collect();
    let (of_set, length) = match scheme.granularity() {
        Granularity::Tensor => (filters.len(), values.len()),
        Granularity::Channel => (1, columns),
        Granularity::Group(length) => (1, length),
    };
    let all = ranges(&values, length, scheme, device);
    let scales_of_set = (of_set * columns).div_ceil(length.max(1));
    let sets: Vec<(usize, &[Filter<'_>])> = filters.chunks(of_set).enumerate().collect();
    let solved = each(&sets, cube, |(place, filters)| {
        let set = Set {
            filters,
            scheme,
            length: if scales_of_set == 1 {
                usize::MAX
            } else {
                length
            },
        };
        let start = place * scales_of_set;
        set.solve(
            all.iter()
                .map(|ranges| &ranges[start..start + scales_of_set]),
        )
    });
    let mut coded = Coded {
        values: Vec::with_capacity(values.len()),
        scale: Vec::new(),
        zero_point: Vec::new(),
    };
    for (values, ranges) in solved {
        coded.values.extend(values.into_iter().flatten());
        coded.scale.extend(ranges.iter().map(|range| range.scale));
        coded
            .zero_point
            .extend(ranges.iter().map(|range| range.zero_point as f32));
    }
    Some(coded)
}

// For each share of the weights' range, from the least on, the range of each group of weights.
fn ranges(values: &[f32], length: usize, scheme: &Scheme, device: &Device) -> Vec<Vec<Range>> {
    let groups = values.len() / length.max(1);
    let ends = values.chunks(length.max(1)).map(|group| {
        let low = group.iter().copied().fold(0.0, f32::min);
        (low, group.iter().copied().fold(0.0, f32::max))
    });
    let (low, high): (Vec<f32>, Vec<f32>) = ends.unzip();
    let of = |share: usize| -> Vec<Range> {
        let share = share as f32 / SHARES as f32;
        let column = |ends: &[f32]| {
            let ends: Vec<f32> = ends.iter().map(|end| end * share).collect();
            Tensor::<2>::from_data(TensorData::new(ends, [groups, 1]), device)
        };
        let found = Parameters::for_range(column(&low), column(&high), scheme);
        let host = |tensor: Tensor<1>| tensor.try_into_vec_as::<f32>().unwrap_or_default();
        let ranges = host(found.scale).into_iter().zip(host(found.zero_point));
        let ranges = ranges.map(|(scale, zero_point)| Range {
            scale,
            zero_point: zero_point as i32,
        });
        ranges.collect()
    };
    (1..=SHARES).map(of).collect()
}

// Filters that share scales.
struct Set<'a> {
    filters: &'a [Filter<'a>],
    scheme: &'a Scheme,
    // Neighbouring columns of a scale.
    length: usize,
}

// A filter's weights, and `b - h w`.
struct State {
    weights: Vec<f64>,
    residual: Vec<f64>,
}

impl Set<'_> {
    fn quantized(&self, ranges: &[Range], column: usize, value: f64) -> f64 {
        let range = &ranges[column / self.length];
        let code = self
            .scheme
            .quantize(value as f32, range.scale, range.zero_point);
        f64::from(self.scheme.dequantize(code, range.scale, range.zero_point))
    }

    // The values of all filters, and the ranges.
    fn solve<'r>(
        &self,
        candidates: impl Iterator<Item = &'r [Range]>,
    ) -> (Vec<Vec<f64>>, Vec<Range>) {
        let candidates: Vec<&[Range]> = candidates.collect();
        let scales = candidates.first().map_or(0, |ranges| ranges.len());
        // The share of least error, weight by weight, for each scale.
        let shares = (0..scales).map(|scale| {
            let error = |share: usize| self.error_by_weight(candidates[share], scale);
            let errors = (0..candidates.len()).map(|share| (share, error(share)));
            let least = errors.min_by(|(_, a), (_, b)| a.total_cmp(b));
            least.map_or(candidates.len() - 1, |(share, _)| share)
        });
        let shares: Vec<usize> = shares.collect();
        let mut best: Option<(f64, Vec<Vec<f64>>, Vec<Range>)> = None;
        let mut tried: Vec<Vec<Range>> = Vec::new();
        for around in AROUND {
            let ranges = shares.iter().enumerate().map(|(scale, share)| {
                let share = ((*share + 1) as f64 * around).round() as usize;
                candidates[share.clamp(1, candidates.len()) - 1][scale]
            });
            let ranges: Vec<Range> = ranges.collect();
            if tried.contains(&ranges) {
                continue;
            }
            tried.push(ranges.clone());
            let (error, values, ranges) = self.descend(ranges);
            if best.as_ref().is_none_or(|(least, ..)| error < *least) {
                best = Some((error, values, ranges));
            }
        }
        best.map_or((Vec::new(), Vec::new()), |(_, values, ranges)| {
            (values, ranges)
        })
    }

    // The squared error of weights rounded each by itself, by the diagonal, of those of a scale.
    fn error_by_weight(&self, ranges: &[Range], scale: usize) -> f64 {
        let mut sum = 0.0;
        for filter in self.filters {
            let problem = filter.task.problem;
            let columns = filter.order.columns.iter().copied();
            for column in columns.filter(|column| column / self.length == scale) {
                let value = filter.best[column];
                let off = self.quantized(ranges, column, value) - value;
                sum +=
                    filter.task.weight * off * off * problem.h[column * problem.columns + column];
            }
        }
        sum
    }

    fn descend(&self, mut ranges: Vec<Range>) -> (f64, Vec<Vec<f64>>, Vec<Range>) {
        let mut states: Vec<State> = (self.filters.iter())
            .map(|filter| self.round(filter, &ranges))
            .collect();
        let mut error = self.error(&states);
        for _ in 0..TURNS {
            for (filter, state) in self.filters.iter().zip(&mut states) {
                self.sweep(filter, state, &ranges);
            }
            self.refit(&mut states, &mut ranges);
            let now = self.error(&states);
            let settled = now > error * (1.0 - 1e-4);
            error = now;
            if settled {
                break;
            }
        }
        let values = states.into_iter().map(|state| state.weights);
        (error, values.collect(), ranges)
    }

    fn error(&self, states: &[State]) -> f64 {
        let errors = self.filters.iter().zip(states).map(|(filter, state)| {
            let (problem, row) = (filter.task.problem, filter.task.row);
            // `w h wᵀ = w (b - residual)`
            let b = problem.b_of(row);
            let error = problem.constant[row]
                - dot(&state.weights, b)
                - dot(&state.weights, &state.residual);
            filter.task.weight * error
        });
        errors.sum()
    }

    // Each weight rounded where those rounded before it leave it.
    fn round(&self, filter: &Filter<'_>, ranges: &[Range]) -> State {
        let problem = filter.task.problem;
        let Order { columns, factor } = &*filter.order;
        let mut weights = vec![0.0; problem.columns];
        let mut moved = vec![0.0; columns.len()];
        for (place, &column) in columns.iter().enumerate().rev() {
            let row = factor.row(place);
            let wanted = filter.best[column] - moved[place] / row[place];
            let value = self.quantized(ranges, column, wanted);
            weights[column] = value;
            let off = value - filter.best[column];
            for (moved, l) in moved.iter_mut().zip(row) {
                *moved += l * off;
            }
        }
        let product = problem.times(&weights);
        let b = problem.b_of(filter.task.row);
        let residual = b.iter().zip(product).map(|(b, product)| b - product);
        State {
            residual: residual.collect(),
            weights,
        }
    }

    // Moves each weight to its best code, as long as any moves.
    fn sweep(&self, filter: &Filter<'_>, state: &mut State, ranges: &[Range]) {
        let problem = filter.task.problem;
        for _ in 0..SWEEPS {
            let mut moved = false;
            for &column in &filter.order.columns {
                let h = &problem.h[column * problem.columns..][..problem.columns];
                let wanted = state.weights[column] + state.residual[column] / h[column];
                let value = self.quantized(ranges, column, wanted);
                let by = value - state.weights[column];
                if by != 0.0 && h[column] * by * by < 2.0 * by * state.residual[column] {
                    state.weights[column] = value;
                    for (residual, h) in state.residual.iter_mut().zip(h) {
                        *residual -= h * by;
                    }
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
    }

    // Moves each scale to its best value for the codes.
    fn refit(&self, states: &mut [State], ranges: &mut [Range]) {
        for (scale, range) in ranges.iter_mut().enumerate() {
            let old = f64::from(range.scale);
            let units: Vec<(Vec<f64>, Vec<f64>)> = (self.filters.iter().zip(&*states))
                .map(|(filter, state)| {
                    let columns = 0..filter.task.problem.columns;
                    let of = |column: usize| match column / self.length == scale {
                        true => (state.weights[column] / old).round(),
                        false => 0.0,
                    };
                    let units: Vec<f64> = columns.map(of).collect();
                    let product = filter.task.problem.times(&units);
                    (units, product)
                })
                .collect();
            let (mut gain, mut square) = (0.0, 0.0);
            for ((filter, state), (units, product)) in self.filters.iter().zip(&*states).zip(&units)
            {
                gain += filter.task.weight * dot(units, &state.residual);
                square += filter.task.weight * dot(units, product);
            }
            let new = (old + gain / square) as f32;
            if !(new.is_normal() && new > 0.0) {
                continue;
            }
            range.scale = new;
            for (state, (units, product)) in states.iter_mut().zip(&units) {
                let by = f64::from(new) - old;
                for (weight, unit) in state.weights.iter_mut().zip(units) {
                    if *unit != 0.0 {
                        // As it is stored.
                        *weight = f64::from(*unit as f32 * new);
                    }
                }
                for (residual, product) in state.residual.iter_mut().zip(product) {
                    *residual -= by * product;
                }
            }
        }
    }
}
