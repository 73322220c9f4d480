//! What is measured of layers: times and damages of each candidate.

use burn::module::Module;

use super::bench::unsteady;
use super::progress::Clock;
use super::run::{Runner, stopped};
use super::store::Store;
use super::{
    BoxError, Candidate, Damage, Measurements, SearchActivity, SearchError, SearchOptions,
};
use crate::Warning;
use crate::engine::Program;
use crate::reconstruct::{Inquiry, Trial, damages};

impl<M: Module, const D: usize> Runner<'_, M, D> {
    /// Takes the times that are missing.
    pub fn times(&mut self) -> Result<(), SearchError> {
        // The first program that is timed, again after all others: a machine that is busy now and then.
        let mut first: Option<(Program, f64)> = None;
        let mut timed = 0;
        for candidate in self.options.candidates.clone() {
            if self.found.timing(&candidate).is_none() {
                self.clock.begin(SearchActivity::Time { candidate })?;
                let (program, timing, spread) = self.bench.candidate(&self.options, candidate)?;
                self.warn(unsteady(format!("`{candidate}`"), spread));
                let pass = timing.rest + timing.layers.iter().sum::<f64>();
                first.get_or_insert((program, pass));
                self.found.timings.push(timing);
                self.store.keep_measurements(&self.found)?;
                timed += 1;
            }
            self.clock.done += 1;
        }
        if let Some((program, before)) = first.filter(|(_, before)| timed > 1 && *before > 0.0) {
            let times = self.bench.time(&program, self.options.repeats)?;
            let after = times.rest + times.layers.iter().sum::<f64>();
            let (low, high) = (after.min(before), after.max(before));
            let what = "the first candidate before and after all others".to_string();
            self.warn(unsteady(what, high / low - 1.0));
            self.store.keep_measurements(&self.found)?;
        }
        Ok(())
    }

    fn warn(&mut self, warning: Option<Warning>) {
        self.found.warnings.extend(warning);
    }

    /// Tries the candidates on layers where that was not done.
    pub fn damages(&mut self) -> Result<(), SearchError> {
        let candidates = &self.options.candidates;
        let tried = self.found.layers.iter().all(|layer| {
            let mut candidates = candidates.iter();
            candidates.all(|candidate| layer.damage(candidate).is_some())
        });
        if tried {
            self.clock.done += self.found.layers.len();
            return Ok(());
        }
        let mut inquiry = Missing {
            options: &self.options,
            found: &mut self.found,
            store: &self.store,
            clock: &mut self.clock,
            open: Vec::new(),
        };
        let batches = self.bench.batches.iter().cloned();
        let (module, graph) = (self.bench.module.valid(), &self.bench.graph);
        damages(
            &self.options.selection,
            module,
            graph,
            batches,
            &mut inquiry,
        )
        .map_err(stopped)
    }
}

// Asks for the damages that are missing, and keeps them.
struct Missing<'a, 'c> {
    options: &'a SearchOptions,
    found: &'a mut Measurements,
    store: &'a Store,
    clock: &'a mut Clock<'c>,
    // What is asked for of the layer at hand.
    open: Vec<Candidate>,
}

impl Inquiry for Missing<'_, '_> {
    fn trials(&mut self, layer: &str) -> Result<Vec<Trial>, BoxError> {
        let known = self.found.layers.iter().find(|of| of.layer == layer);
        let missing = self
            .options
            .candidates
            .iter()
            .filter(|candidate| known.is_some_and(|known| known.damage(candidate).is_none()));
        self.open = missing.copied().collect();
        match self.open.is_empty() {
            true => self.clock.done += 1,
            false => self.clock.tell(SearchActivity::Damage { layer })?,
        }
        let trials = self.open.iter().map(|candidate| {
            let scheme = candidate
                .quantizes()
                .then(|| self.options.scheme(candidate.bits));
            Ok(Trial {
                pattern: candidate.pattern,
                level: candidate.level,
                scheme: scheme.transpose()?,
            })
        });
        trials.collect()
    }

    fn found(&mut self, layer: &str, damages: Vec<Option<f64>>) -> Result<(), BoxError> {
        let of_layer = self.found.layers.iter_mut().find(|of| of.layer == layer);
        if let Some(known) = of_layer {
            let found = self.open.drain(..).zip(damages);
            known.damages.extend(found.map(|(candidate, share)| Damage {
                candidate,
                // What is left as it is loses nothing.
                share: match candidate.prunes() || candidate.quantizes() {
                    true => share,
                    false => Some(0.0),
                },
            }));
        }
        self.clock.done += 1;
        Ok(self.store.keep_measurements(self.found)?)
    }
}
