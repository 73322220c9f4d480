//! Makes, times and scores models: the original, candidates in all layers, and plans that are searched.

use burn::module::Module;

use super::bench::Bench;
use super::progress::Clock;
use super::solve::solve;
use super::store::Store;
use super::tables::Tables;
use super::{
    Budget, Candidate, LayerChoice, LeftOut, Limit, Measurements, OnScore, Origin, SearchActivity,
    SearchError, SearchOptions, SearchedModel, TimeLimit,
};
use crate::compress::{Observations, archive};
use crate::engine::Program;
use crate::network::Network;
use crate::reconstruct::{ReconstructError, Reconstruction};

pub(super) struct Runner<'a, M, const D: usize> {
    pub budget: Budget,
    pub options: SearchOptions,
    pub bench: Bench<M, D>,
    pub found: Measurements,
    pub store: Store,
    pub clock: Clock<'a>,
    pub score: Option<OnScore<'a>>,
    pub models: Vec<SearchedModel>,
    pub left_out: Vec<LeftOut>,
}

impl<M: Module, const D: usize> Runner<'_, M, D> {
    /// Runs the original, each candidate in all layers, and plans that the budget asks for.
    pub fn models(&mut self) -> Result<(), SearchError> {
        let Self {
            found,
            options,
            bench,
            ..
        } = self;
        let tables = Tables::new(found, &options.candidates, bench.batch, &bench.macs);
        let untouched = bench.choices(|_| Candidate::default());
        self.run(Origin::Original, untouched, &tables)?;
        if self.options.uniform {
            for candidate in self.options.candidates.clone() {
                let choices = self.bench.choices(|_| candidate);
                if self.was_tried(&choices) {
                    continue; // the original
                }
                self.run(Origin::Uniform { candidate }, choices, &tables)?;
            }
        }
        match self.limits()?.as_slice() {
            [] => self.ladder(&tables),
            limits => self.within(&tables, limits),
        }
    }

    // The limits of cost.
    pub(super) fn limits(&self) -> Result<Vec<(Limit, f64)>, SearchError> {
        let Budget {
            time, bytes, macs, ..
        } = self.budget;
        let time = time.map(|time| match time {
            TimeLimit::Milliseconds(time) => time,
            TimeLimit::Share(share) => {
                let first = self
                    .found
                    .timings
                    .iter()
                    .find(|timing| self.options.candidates.first() == Some(&timing.candidate));
                share * first.map_or(0.0, |first| first.milliseconds)
            }
        });
        let limits = [
            (Limit::Time, time),
            (Limit::Bytes, bytes.map(|bytes| bytes as f64)),
            (Limit::Macs, macs.map(|macs| macs as f64)),
        ];
        let limits = limits.into_iter();
        Ok(limits
            .filter_map(|(of, limit)| Some((of, limit?)))
            .collect())
    }

    // Plans of least damage within limits. What a model really costs corrects what the next may.
    fn within(&mut self, tables: &Tables, limits: &[(Limit, f64)]) -> Result<(), SearchError> {
        let mut factors = vec![1.0; limits.len()];
        let (mut share, mut number) = (1.0, 0);
        // Below half of the limit there is nothing to look for.
        while number < self.options.plans && share > 0.5 {
            let constraints = limits.iter().zip(&factors).enumerate();
            let constraints = constraints.filter_map(|(place, ((of, limit), factor))| {
                let share = if place == 0 { share } else { 1.0 };
                tables.constraint(*of, limit * share / factor)
            });
            let constraints: Vec<_> = constraints.collect();
            let solution = solve(&tables.damages, &constraints);
            let choices = self.choices(&solution.choice);
            if self.was_tried(&choices) {
                if !solution.meets {
                    break; // the cheapest there is
                }
                share *= 0.98;
                continue;
            }
            number += 1;
            let model = self.run(Origin::Searched { number }, choices, tables)?;
            let Some(model) = model.map(|index| &self.models[index]) else {
                continue;
            };
            for ((of, _), factor) in limits.iter().zip(&mut factors) {
                let predicted = tables.predicted(*of, &solution.choice);
                let measured = cost(model, *of);
                if predicted > 0.0 && measured > 0.0 {
                    *factor = measured / predicted;
                }
            }
        }
        Ok(())
    }

    // Plans from the least damage to the fastest; with a limit of points, the fastest that keeps it.
    fn ladder(&mut self, tables: &Tables) -> Result<(), SearchError> {
        let time = |choice: &[usize]| tables.predicted(Limit::Time, choice);
        let target = |limit: f64| {
            let constraint = tables.constraint(Limit::Time, limit);
            solve(&tables.damages, constraint.as_slice()).choice
        };
        let mut high = time(&solve(&tables.damages, &[]).choice);
        let mut low = time(&target(0.0)).min(high);
        let plans = self.options.plans;
        for number in 0..plans {
            let limit = match self.budget.points {
                Some(_) => (low * high).sqrt(),
                None => high * (low / high).powf(number as f64 / (plans - 1).max(1) as f64),
            };
            // The ends themselves, however they are rounded.
            let choices = self.choices(&target(limit * (1.0 + 1e-4)));
            let known = self.models.iter().position(|of| of.choices == choices);
            let model = match known {
                Some(index) => Some(index),
                None => {
                    let searched = self.models.iter();
                    let searched =
                        searched.filter(|of| matches!(of.origin, Origin::Searched { .. }));
                    let number = searched.count() + 1;
                    self.run(Origin::Searched { number }, choices, tables)?
                }
            };
            if let Some(points) = self.budget.points {
                let lost = model.and_then(|index| self.lost(&self.models[index]));
                match lost.is_some_and(|lost| lost <= points) {
                    true => high = limit,
                    false => low = limit,
                }
            }
        }
        Ok(())
    }

    fn choices(&self, choice: &[usize]) -> Vec<LayerChoice> {
        (self.bench).choices(|layer| self.options.candidates[choice[layer]])
    }

    fn was_tried(&self, choices: &[LayerChoice]) -> bool {
        let mut models = self.models.iter().map(|of| &of.choices);
        let mut left_out = self.left_out.iter().map(|of| &of.choices);
        models.any(|of| of == choices) || left_out.any(|of| of == choices)
    }

    // Makes, times and scores a model; its index, where layers bear it.
    fn run(
        &mut self,
        origin: Origin,
        choices: Vec<LayerChoice>,
        tables: &Tables,
    ) -> Result<Option<usize>, SearchError> {
        let name = origin.to_string();
        let found = self.store.model(&choices)?;
        let mut model = match found {
            Some(model) => SearchedModel { origin, ..model },
            None => match self.made(origin, choices, tables)? {
                Some(model) => model,
                None => {
                    self.clock.done += 1;
                    return Ok(None);
                }
            },
        };
        if let (None, Some(_)) = (model.score, &self.score) {
            let program =
                Program::compile(&self.store.network(&model.choices)?, self.options.engine)?;
            model.score = self.scored(&name, &program)?;
            self.store.keep_row(&model)?;
        }
        self.clock.done += 1;
        self.models.push(model);
        Ok(Some(self.models.len() - 1))
    }

    fn made(
        &mut self,
        origin: Origin,
        choices: Vec<LayerChoice>,
        tables: &Tables,
    ) -> Result<Option<SearchedModel>, SearchError> {
        let name = origin.to_string();
        let name = name.as_str();
        let bench = &self.bench;
        let mut touched = choices.iter().map(|choice| choice.candidate);
        let compressed = match touched.any(|of| of.prunes() || of.quantizes()) {
            false => None,
            true => {
                let plan = self.options.plan(&choices)?;
                let clock = &mut self.clock;
                let compressed = Reconstruction::default().run_along(
                    &plan,
                    &Observations::default(),
                    bench.module.valid(),
                    &bench.graph,
                    bench.batches.iter().cloned(),
                    |progress| {
                        let layer = progress.layer;
                        clock.tell(SearchActivity::Reconstruct { model: name, layer })
                    },
                );
                match compressed {
                    Ok(compressed) => Some(compressed),
                    Err(error @ ReconstructError::Unbearable { .. }) => {
                        self.left_out.push(LeftOut {
                            origin,
                            choices,
                            reason: error.to_string(),
                        });
                        return Ok(None);
                    }
                    Err(error) => return Err(stopped(error)),
                }
            }
        };
        self.clock.begin(SearchActivity::Measure { model: name })?;
        let bench = &self.bench;
        let network: Network = match &compressed {
            Some(compressed) => bench.network(&self.options, compressed, true)?,
            None => bench.original()?,
        };
        let program = Program::compile(&network, self.options.engine)?;
        let milliseconds = bench.call(&program, self.options.repeats)?;
        let mut warnings = program.warnings(bench.batch);
        warnings.extend(compressed.iter().flat_map(|of| of.warnings().to_vec()));
        let places = choices.iter().map(|of| tables.place(&of.candidate));
        let places: Option<Vec<usize>> = places.collect();
        let predicted = places.as_ref().filter(|_| origin != Origin::Original);
        let network = network.to_bytes()?;
        let macs = bench.macs_of(compressed.as_ref());
        let archive = match compressed {
            Some(compressed) => compressed.into_archive(),
            None => archive(&bench.module)?,
        };
        let model = SearchedModel {
            origin,
            predicted_milliseconds: predicted.map(|at| tables.predicted(Limit::Time, at)),
            milliseconds,
            bytes: network.len() as u64,
            macs,
            damage: predicted.map_or(0.0, |at| tables.damage(at)),
            score: self.scored(name, &program)?,
            choices,
            warnings,
        };
        self.store.keep(&model, network, archive)?;
        Ok(Some(model))
    }

    // The score of a program, checked; none without a scoring function.
    fn scored(&mut self, name: &str, program: &Program) -> Result<Option<f64>, SearchError> {
        let Some(score) = &mut self.score else {
            return Ok(None);
        };
        let model = || name.to_string();
        match score(program) {
            Ok(score) if score.is_finite() => Ok(Some(score)),
            Ok(score) => Err(SearchError::Score {
                model: model(),
                score,
            }),
            Err(source) => Err(SearchError::Scoring {
                model: model(),
                source,
            }),
        }
    }

    pub(super) fn lost(&self, model: &SearchedModel) -> Option<f64> {
        Some(self.models.first()?.score? - model.score?)
    }
}

pub(super) fn cost(model: &SearchedModel, of: Limit) -> f64 {
    match of {
        Limit::Time => model.milliseconds,
        Limit::Bytes => model.bytes as f64,
        Limit::Macs => model.macs as f64,
        Limit::Points => 0.0,
    }
}

// A callback's own error is no error of the reconstruction.
pub(super) fn stopped(error: ReconstructError) -> SearchError {
    match error {
        ReconstructError::Stopped { source, .. } => SearchError::Stopped { source },
        error => error.into(),
    }
}
