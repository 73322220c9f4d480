use super::{Criterion, RangeMethod, Recipe, RecipeError};
use crate::graph::Calibrator;
use crate::prune::AtLeast;
use crate::report::Stage;

impl Recipe {
    /// Whether the recipe can be followed. Fails with any other [`RecipeError`] than those of reading
    /// and writing, at the first number, name or order that does not make sense.
    pub fn check(&self) -> Result<(), RecipeError> {
        let levels = self.prune.as_ref().map_or(&[][..], |p| &p.levels);
        let bits = self.quantize.as_ref().map_or(&[][..], |q| &q.bits);
        let steers = self.prune.as_ref().is_some_and(|p| p.steer.is_some());
        // A pattern that fixes the level needs none.
        let fixed = self.prune.as_ref().is_some_and(|prune| {
            let mut patterns = prune.patterns.iter();
            patterns.any(|pattern| pattern.level().is_some())
        });
        if levels.is_empty() && bits.is_empty() && !steers && !fixed {
            return Err(RecipeError::Empty);
        }
        if let Some(&level) = levels.iter().find(|l| !(**l > 0.0 && **l < 1.0)) {
            return Err(RecipeError::Level { level });
        }
        if let Some(pair) = levels.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(RecipeError::Unsorted {
                what: "pruning level",
                before: pair[0],
                next: pair[1],
            });
        }
        for &bits in bits {
            self.scheme(bits)?;
        }
        if let Some(pair) = bits.windows(2).find(|pair| pair[0] <= pair[1]) {
            return Err(RecipeError::Unsorted {
                what: "number of bit",
                before: f64::from(pair[0]),
                next: f64::from(pair[1]),
            });
        }
        let value = |name, value: f64, fits: bool, expected| match fits {
            true => Ok(()),
            false => Err(RecipeError::Value {
                name,
                value,
                expected,
            }),
        };
        let positive = |number: f64| number > 0.0 && number.is_finite();
        let not_negative = self.max_drop >= 0.0 && self.max_drop.is_finite();
        value(
            "max_drop",
            self.max_drop,
            not_negative,
            "give 0 or more points",
        )?;
        let rate = self.learning_rate;
        value(
            "learning_rate",
            rate,
            positive(rate),
            "give a positive number",
        )?;
        let seeds = self.seeds.len() as f64;
        value(
            "number of seeds",
            seeds,
            seeds > 0.0,
            "give at least one seed",
        )?;
        for (index, &seed) in self.seeds.iter().enumerate() {
            let first = !self.seeds[..index].contains(&seed);
            value("seed", seed as f64, first, "give each seed once")?;
        }
        let passes = self.timed_passes as f64;
        value(
            "timed_passes",
            passes,
            passes > 0.0,
            "time at least one pass",
        )?;
        if let Some(what) = self.reconstruct {
            let parts = usize::from(what.weights) + usize::from(what.statistics);
            value(
                "number of parts of reconstruct",
                parts as f64,
                parts > 0,
                "choose weights, statistics or both",
            )?;
        }
        if let Some(prune) = &self.prune {
            let share = prune.ramp_share;
            let fits = (0.0..=1.0).contains(&share);
            value(
                "ramp_share",
                share,
                fits,
                "give a share of the training, 0 to 1",
            )?;
            let every = prune.every as f64;
            value("prune.every", every, every > 0.0, "give 1 or more steps")?;
            if let AtLeast::Share(share) = prune.at_least {
                let fits = (0.0..=1.0).contains(&share);
                let expected = "give a share from 0 to 1";
                value("prune.at_least.share", share, fits, expected)?;
            }
            let patterns = &prune.patterns;
            let count = patterns.len() as f64;
            value(
                "number of patterns",
                count,
                count > 0.0,
                "give at least one",
            )?;
            for pattern in patterns {
                pattern.check()?;
                let equal = patterns.iter().filter(|other| *other == pattern).count();
                value(
                    "number of equal patterns",
                    equal as f64,
                    equal == 1,
                    "give each once",
                )?;
            }
            if let Criterion::Custom(name) = &prune.criterion {
                value(
                    "length of the criterion's name",
                    0.0,
                    !name.is_empty(),
                    "name it",
                )?;
            }
            if let Some(steer) = &prune.steer {
                let fits = (0.0..1.0).contains(&steer.start);
                value(
                    "steer.start",
                    steer.start,
                    fits,
                    "give a share from 0 to below 1",
                )?;
                let step = steer.increment;
                value(
                    "steer.increment",
                    step,
                    positive(step),
                    "give a positive share",
                )?;
                let end = steer.resolution;
                value(
                    "steer.resolution",
                    end,
                    positive(end),
                    "give a positive share",
                )?;
                let rounds = steer.rounds as f64;
                let expected = "give no more than the increment";
                value("steer.resolution", end, end <= step, expected)?;
                value("steer.rounds", rounds, rounds > 0.0, "allow at least one")?;
            }
        }
        if let Some(quantize) = &self.quantize {
            let every = quantize.every as f64;
            value("quantize.every", every, every > 0.0, "give 1 or more steps")?;
            self.activations()?;
            if let Some(levels) = &quantize.activations {
                let (name, share, range) = match levels.calibrator {
                    Calibrator::Percentile { outside } => ("outside", outside, 0.0..0.5),
                    Calibrator::MovingAverage { momentum } => ("momentum", momentum, 0.0..1.0),
                    _ => ("", 0.0, 0.0..1.0),
                };
                let expected = "give a share from 0 to below its end (0.5 outside, 1 of momentum)";
                value(name, share, range.contains(&share), expected)?;
            }
            if let RangeMethod::Custom(name) = &quantize.ranges {
                let expected = "name it";
                value(
                    "length of the quantizer's name",
                    0.0,
                    !name.is_empty(),
                    expected,
                )?;
            }
        }
        if let Some(RangeMethod::Percentile { outside }) = self.quantize.as_ref().map(|q| &q.ranges)
        {
            let fits = (0.0..0.5).contains(outside);
            value(
                "outside",
                *outside,
                fits,
                "give a share from 0 to below 0.5",
            )?;
        }
        self.check_order(!levels.is_empty() || steers || fixed, !bits.is_empty())
    }

    fn check_order(&self, prunes: bool, quantizes: bool) -> Result<(), RecipeError> {
        let refuse = |reason| {
            Err(RecipeError::Order {
                order: self.order.clone(),
                reason,
            })
        };
        let place = |stage| self.order.iter().position(|s| *s == stage);
        if self.order.contains(&Stage::Baseline) {
            return refuse("the baseline is always measured first; leave it out");
        }
        for (index, stage) in self.order.iter().enumerate() {
            if self.order[..index].contains(stage) {
                return refuse("a stage occurs twice");
            }
        }
        if prunes && place(Stage::Prune).is_none() {
            return refuse("pruning has levels, but no place in it");
        }
        if quantizes && place(Stage::Quantize).is_none() {
            return refuse("quantization has numbers of bits, but no place in it");
        }
        if let Some(combined) = place(Stage::Combined)
            && [Stage::Prune, Stage::Quantize]
                .iter()
                .any(|stage| place(*stage).is_none_or(|place| place > combined))
        {
            return refuse("the combination comes after both pruning and quantization");
        }
        Ok(())
    }
}
