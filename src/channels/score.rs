//! What each channel is worth.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::ChannelError;
use super::groups::{Found, Group};
use super::read::Parameter;
use crate::compress::{Layer, Observations};

/// What a channel, or several that go together, is worth. Scores of a group are divided by their mean, so
/// that groups compare.
///
/// ```
/// use burn_compress::channels::Score;
/// assert_eq!(Score::default(), Score::L2);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Score {
    /// The sum of the absolute weights that would go.
    L1,
    /// The root of the sum of their squares (Fang et al. 2023, "DepGraph").
    #[default]
    L2,
    /// The absolute scale of the norms (Liu et al. 2017, "Network Slimming"). Groups without a norm stay.
    NormScale,
    /// The first-order estimate of what the loss changes by: the square of the sum of weight times
    /// gradient (Molchanov et al. 2019). Reads [`Channels::observed`](super::Channels::observed).
    Taylor,
}

/// Scores sums of the elements of parameters along axes.
pub(super) struct Scorer<'a> {
    pub score: Score,
    pub found: &'a Found<'a>,
    /// By index in the graph.
    pub parameters: &'a [&'a Parameter],
    pub layers: &'a HashMap<String, Layer>,
    pub observed: Option<&'a Observations>,
    /// Of a parameter's axis: a number for each place.
    sums: HashMap<(usize, usize), Option<Vec<f64>>>,
}

impl<'a> Scorer<'a> {
    pub fn new(
        score: Score,
        found: &'a Found<'a>,
        parameters: &'a [&'a Parameter],
        layers: &'a HashMap<String, Layer>,
        observed: Option<&'a Observations>,
    ) -> Self {
        Self {
            score,
            found,
            parameters,
            layers,
            observed,
            sums: HashMap::new(),
        }
    }

    /// The score of each unit; none where nothing says what they are worth.
    pub fn scores(&mut self, group: &Group) -> Result<Option<Vec<f64>>, ChannelError> {
        for &(parameter, axis) in &group.axes {
            if !self.sums.contains_key(&(parameter, axis)) {
                let sums = self.sums_of(parameter, axis)?;
                self.sums.insert((parameter, axis), sums);
            }
        }
        if self.score == Score::Taylor && self.sums[&group.producer].is_none() {
            let layer = self.parameters[group.producer.0].path.clone();
            return Err(ChannelError::Unobserved { layer });
        }
        if group.axes.iter().all(|axis| self.sums[axis].is_none()) {
            return Ok(None);
        }
        let units = group.units.iter().map(|unit| {
            let each = unit.places.iter().filter_map(|&(parameter, axis, place)| {
                let sums = self.sums[&(parameter, axis)].as_ref()?;
                Some(match self.score {
                    Score::Taylor => sums[place] * sums[place],
                    _ => sums[place],
                })
            });
            let sum: f64 = each.sum();
            match self.score {
                Score::L2 => sum.sqrt(),
                _ => sum,
            }
        });
        let mut scores: Vec<f64> = units.collect();
        let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        if mean > 0.0 {
            scores.iter_mut().for_each(|score| *score /= mean);
        }
        Ok(Some(scores))
    }

    fn sums_of(&self, index: usize, axis: usize) -> Result<Option<Vec<f64>>, ChannelError> {
        let parameter = self.parameters[index];
        let weight = parameter.dims.len() > 1;
        let along = |value: &dyn Fn(usize) -> f64| Some(sums(&parameter.dims, axis, value));
        let values = &parameter.values;
        Ok(match self.score {
            Score::L1 if weight => along(&|i| f64::from(values[i].abs())),
            Score::L2 if weight => along(&|i| f64::from(values[i]).powi(2)),
            Score::NormScale if self.found.flow.scales.contains(&index) => {
                along(&|i| f64::from(values[i].abs()))
            }
            Score::Taylor => {
                let layer = self.layers.get(&parameter.path);
                let gradient = match (layer, self.observed) {
                    (Some(layer), Some(observed)) => observed.gradient(layer)?,
                    _ => None,
                };
                let gradient = gradient.filter(|gradient| gradient.len() == values.len());
                gradient
                    .and_then(|gradient| along(&|i| f64::from(values[i]) * f64::from(gradient[i])))
            }
            _ => None,
        })
    }
}

// The sum of all elements at each place of an axis.
fn sums(dims: &[usize], axis: usize, value: &dyn Fn(usize) -> f64) -> Vec<f64> {
    let inner: usize = dims[axis + 1..].iter().product();
    let mut sums = vec![0.0; dims[axis]];
    for index in 0..dims.iter().product() {
        sums[index / inner % dims[axis]] += value(index);
    }
    sums
}
