//! A layer's weights: which go, and what the others become.

use burn::tensor::Device;

use super::codes::{Task, codes};
use super::eliminate::{Gone, order, order_at_once};
use super::levels::{Cost, cheapest, costs};
use super::moments::Problem;
use super::threads::each;
use super::units::Units;
use crate::compress::Rows;
use crate::format::Scheme;
use crate::prune::Pattern;

/// The most columns of a filter whose weights go one by one: their time is the cube of the columns.
const SHORT: usize = 1200;

/// The filters of a layer, and the order in which the units of each go.
pub(super) struct Orders {
    units: Units,
    orders: Vec<Vec<Gone>>,
}

impl Orders {
    /// Of the filters of a layer whose problems are these.
    pub fn new(pattern: Pattern, rows: &Rows, problems: &[Problem]) -> Self {
        let units = Units::new(pattern, &rows.layer.view);
        let columns = rows.layer.view.columns();
        let inverses: Vec<(Vec<f32>, Vec<f64>)> = (problems.iter())
            .map(|problem| {
                let inverse = problem.factor.inverse();
                let inverse = inverse.into_iter().map(|value| value as f32).collect();
                (
                    inverse,
                    problem.h.iter().step_by(columns + 1).copied().collect(),
                )
            })
            .collect();
        let none = vec![false; columns];
        let filters: Vec<usize> = (0..rows.layer.view.rows()).collect();
        let work = columns * columns * columns / 3 * filters.len();
        let orders = each(&filters, work, |filter| {
            let of_group = problems[0].rows;
            let (group, row) = (filter / of_group, filter % of_group);
            let (inverse, diagonal) = &inverses[group];
            let gone = rows
                .removed
                .as_ref()
                .map_or(&none[..], |removed| &removed[filter * columns..][..columns]);
            // The best weights without those that are gone come from their elimination.
            let best = &problems[group].best[row * columns..][..columns];
            match columns <= SHORT {
                true => order(inverse, diagonal, best, gone, &units),
                false => order_at_once(inverse, diagonal, best, gone, &units),
            }
        });
        Self { units, orders }
    }

    /// The costs of all units of the layer, given what an error in each channel counts.
    pub fn costs(&self, importance: &[f64], place: impl Fn(usize) -> usize) -> Vec<Cost> {
        let filters = self.orders.iter().zip(importance).enumerate();
        let all = filters.flat_map(|(filter, (order, importance))| {
            let weights = |unit: usize| self.units.columns[unit].len();
            costs(order, weights, *importance, place(filter))
        });
        all.collect()
    }

    /// Marks the cheapest units up to so many weights.
    pub fn mark(&self, rows: &mut Rows, importance: &[f64], count: usize) {
        let columns = rows.layer.view.columns();
        let costs = self.costs(importance, |filter| filter);
        let gone = cheapest(costs, self.orders.len(), |_| columns, count);
        let total = rows.values.len();
        let removed = rows.removed.get_or_insert_with(|| vec![false; total]);
        for ((order, (units, _)), removed) in
            (self.orders.iter().zip(gone)).zip(removed.chunks_mut(columns))
        {
            for gone in &order[..units] {
                for column in &self.units.columns[gone.unit] {
                    removed[*column] = true;
                }
            }
        }
    }
}

/// The best weights of a layer for its mask and its codes; the squared error of the outputs, and their
/// variance, each channel's times its importance.
pub(super) fn solve(
    rows: &mut Rows,
    problems: &[Problem],
    importance: &[f64],
    scheme: Option<&Scheme>,
    device: &Device,
) -> Option<(f64, f64)> {
    let columns = rows.layer.view.columns();
    let of_group = problems[0].rows;
    let removed = rows.removed.as_deref();
    let tasks: Vec<Task<'_>> = (0..rows.layer.view.rows())
        .map(|filter| Task {
            problem: &problems[filter / of_group],
            group: filter / of_group,
            row: filter % of_group,
            removed: (removed.map(|removed| &removed[filter * columns..][..columns]))
                .filter(|removed| removed.contains(&true)),
            weight: importance[filter],
        })
        .collect();
    let values = match scheme {
        Some(scheme) => {
            let coded = codes(&tasks, scheme, device)?;
            rows.ranges = Some((coded.scale, coded.zero_point));
            coded.values
        }
        None => {
            let cube = columns * columns * columns / 6 * tasks.len();
            let none = vec![false; columns];
            let filters = each(&tasks, cube, |task| {
                task.problem
                    .without(task.row, task.removed.unwrap_or(&none))
            });
            filters.concat()
        }
    };
    let errors = tasks
        .iter()
        .zip(values.chunks(columns))
        .map(|(task, weights)| {
            let constant = task.problem.constant[task.row];
            (
                task.weight * task.problem.error(task.row, weights),
                task.weight * constant,
            )
        });
    let sums = errors.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
    rows.values = values.into_iter().map(|value| value as f32).collect();
    Some(sums)
}

/// The dimensions of a layer's moments: groups, filters of each, inputs of a filter.
pub(super) fn dims(rows: &Rows, groups: usize) -> [usize; 3] {
    let view = &rows.layer.view;
    [groups, view.rows() / groups.max(1), view.columns()]
}
