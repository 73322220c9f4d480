use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;

use super::evaluator::{Candidate, Evaluator};
use super::progress::Clock;
use super::reconstructed::Reconstructor;
use super::store::{Store, unfit};
use super::strategy::{Strategy, Weights};
use super::{StudyError, Trial};
use crate::compress::{Compression, Layer, Observations, Plan, Pruning, Quantization, unpack};
use crate::prune::Pruner;
use crate::quantize::Quantizer;
use crate::recipe::{PruneLevels, QuantizeLevels, Recipe};
use crate::report::{Choice, Mode, Row, Stage, choose};
use crate::train::{FineTune, Workload};

/// Goes through a recipe, trial by trial.
pub(super) struct Runner<'a, M, W, T> {
    pub recipe: &'a Recipe,
    pub criterion: Arc<dyn Pruner>,
    pub quantizer: Arc<dyn Quantizer>,
    /// The model as it came, in validation mode.
    pub module: M,
    pub layers: Vec<Layer>,
    /// What the criterion asks to see of the model as it came.
    pub seen: Observations,
    pub workload: &'a mut W,
    pub evaluator: Evaluator,
    pub store: Store,
    pub clock: Clock<'a>,
    pub rows: Vec<Row>,
    /// Where the recipe compresses without training, too.
    pub reconstructor: Option<Reconstructor<M>>,
    /// What the report should say beside its rows.
    pub notes: Vec<String>,
    /// How trials with quantized weights treat activations.
    pub strategy: &'a T,
}

// What a trial compresses to.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub trial: Trial,
    /// The weights come pruned already: keep their zeros.
    pub existing: bool,
}

impl<M, W, T> Runner<'_, M, W, T>
where
    M: Module,
    T: Strategy<M>,
    W: Workload<M> + Workload<T::Model>,
{
    pub fn into_parts(self) -> (M, Store, Vec<Row>, Vec<String>) {
        (self.module, self.store, self.rows, self.notes)
    }

    /// Measures every trial that is not finished yet.
    pub fn run(&mut self) -> Result<(), StudyError> {
        let first = *self.recipe.seeds.first().unwrap_or(&0);
        self.baseline(first)?;
        for index in 0..self.recipe.seeds.len() {
            let seed = self.recipe.seeds[index];
            for stage in self.recipe.order.clone() {
                match stage {
                    Stage::Baseline => {}
                    Stage::Prune => self.prune(seed, first)?,
                    Stage::Quantize => self.quantize(seed, first)?,
                    Stage::Combined => self.combine(seed)?,
                }
            }
        }
        Ok(())
    }

    fn baseline(&mut self, seed: u64) -> Result<(), StudyError> {
        let trial = Trial::baseline(seed);
        let candidate = self.evaluator.baseline(&self.module)?;
        if let (Some(_), Some(folder)) = (self.store.row(&trial), self.store.folder())
            && self.store.archive(&trial)? != candidate.archive
        {
            return Err(StudyError::AnotherStudy {
                folder: folder.to_path_buf(),
                what: "the model",
            });
        }
        if self.found(trial, 0) {
            self.evaluator.score = self.rows.last().map(|row| row.score);
            return Ok(());
        }
        self.finish(trial, candidate, Instant::now())?;
        self.evaluator.score = self.rows.last().map(|row| row.score);
        Ok(())
    }

    fn prune(&mut self, seed: u64, first: u64) -> Result<(), StudyError> {
        let Some(prune) = self.recipe.prune.clone() else {
            return Ok(());
        };
        for &pattern in &prune.patterns {
            for level in prune.levels_of(pattern) {
                let trial = Trial {
                    stage: Stage::Prune,
                    level,
                    pattern,
                    ..Trial::baseline(seed)
                };
                let module = self.module.valid();
                self.level(&Weights, trial, false, &module, seed == first)?;
                if seed == first {
                    self.reconstruct(&Weights, trial, false, &module)?;
                }
            }
            if let (Some(steer), None) = (&prune.steer, pattern.level()) {
                self.steer(steer, pattern, seed)?;
            }
        }
        Ok(())
    }

    fn quantize(&mut self, seed: u64, first: u64) -> Result<(), StudyError> {
        let Some(quantize) = self.recipe.quantize.clone() else {
            return Ok(());
        };
        for bits in quantize.bits {
            let trial = Trial {
                stage: Stage::Quantize,
                bits,
                activation_bits: self.strategy.activation_bits(),
                ..Trial::baseline(seed)
            };
            let module = self.module.valid();
            self.level(self.strategy, trial, false, &module, seed == first)?;
            if seed == first {
                self.reconstruct(self.strategy, trial, false, &module)?;
            }
        }
        Ok(())
    }

    /// The best pruning level, quantized to the best number of bits.
    fn combine(&mut self, seed: u64) -> Result<(), StudyError> {
        let best = choose(&self.rows, self.recipe.max_drop)?;
        let (Some(prune), Some(quantize)) = (best.prune, best.quantize) else {
            return Ok(());
        };
        let trial = Trial {
            stage: Stage::Combined,
            level: prune.row.level,
            pattern: prune.row.pattern,
            bits: quantize.row.weight_bits,
            activation_bits: quantize.row.activation_bits,
            ..Trial::baseline(seed)
        };
        let module = self.pruned(&prune, seed)?;
        self.level(self.strategy, trial, true, &module, true)?;
        self.reconstruct_both(trial, &prune, &module)
    }

    // The model of the best pruning trial, as this seed trained it.
    fn pruned(&self, choice: &Choice, seed: u64) -> Result<M, StudyError> {
        let chosen = Trial::of(&choice.row);
        let own = Trial { seed, ..chosen };
        let trial = match self.store.row(&own) {
            Some(_) => own,
            None => chosen, // without training no trial depends on the seed
        };
        Ok(unpack(self.store.archive(&trial)?, self.module.valid())?)
    }

    /// The four variants of a level: post-training and aware, each as it is and refine-tuned.
    fn level<C: Strategy<M>>(
        &mut self,
        strategy: &C,
        trial: Trial,
        existing: bool,
        module: &M,
        with_post: bool,
    ) -> Result<(), StudyError>
    where
        W: Workload<C::Model>,
    {
        let post = Target {
            trial: Trial {
                mode: Mode::Post,
                ..trial
            },
            existing,
        };
        let aware = Target {
            trial: Trial {
                mode: Mode::Aware,
                ..trial
            },
            existing,
        };
        let trains = self.recipe.epochs > 0;
        let refines = trains && self.recipe.refine_epochs > 0;
        // Without training nothing depends on the seed.
        if with_post {
            self.post(strategy, post, module)?;
        }
        if refines {
            self.refine_post(strategy, post, module)?;
        }
        if trains {
            self.aware(strategy, aware, module, refines)?;
        }
        Ok(())
    }

    fn post<C: Strategy<M>>(
        &mut self,
        strategy: &C,
        target: Target,
        module: &M,
    ) -> Result<(), StudyError>
    where
        W: Workload<C::Model>,
    {
        if self.found(target.trial, 0) {
            return Ok(());
        }
        let started = Instant::now();
        let (module, compression) = self
            .plan(target, None)?
            .attach_with(module.valid(), &self.seen)?;
        let model = strategy.begin(module, &compression)?;
        self.finish(target.trial, strategy.end(model, compression)?, started)
    }

    fn refine_post<C: Strategy<M>>(
        &mut self,
        strategy: &C,
        target: Target,
        module: &M,
    ) -> Result<(), StudyError>
    where
        W: Workload<C::Model>,
    {
        let trial = target.trial.refined();
        if self.found(trial, self.recipe.refine_epochs) {
            return Ok(());
        }
        let started = Instant::now();
        let (module, mut compression) = self
            .plan(target, None)?
            .attach_with(module.valid().train(), &self.seen)?;
        let model = strategy.begin(module, &compression)?;
        let model = self.train(strategy, trial, model, &mut compression)?;
        self.finish(trial, strategy.end(model, compression)?, started)
    }

    fn aware<C: Strategy<M>>(
        &mut self,
        strategy: &C,
        target: Target,
        module: &M,
        refines: bool,
    ) -> Result<(), StudyError>
    where
        W: Workload<C::Model>,
    {
        let (trial, refined) = (target.trial, target.trial.refined());
        let refined_is_there = !refines || self.store.row(&refined).is_some();
        let state = match (self.store.row(&trial), refined_is_there) {
            (Some(_), true) => {
                self.found(trial, self.recipe.epochs);
                if refines {
                    self.found(refined, self.recipe.refine_epochs);
                }
                return Ok(());
            }
            (Some(_), false) => self.store.state(&trial)?,
            (None, _) => None,
        };
        let steps = self.recipe.epochs * Workload::<M>::steps_per_epoch(self.workload);
        let plan = self.plan(target, Some(steps))?;
        let (module, mut compression) = plan.attach_with(module.valid().train(), &self.seen)?;
        let mut model = strategy.begin(module, &compression)?;
        match state {
            // The trial is finished; its training goes on where it was.
            Some((record, state)) => {
                self.found(trial, self.recipe.epochs);
                model = model.try_load_record(record).map_err(unfit)?;
                compression.restore(state)?;
            }
            None => {
                let started = Instant::now();
                model = self.train(strategy, trial, model, &mut compression)?;
                model = compression.freeze(model)?;
                if refines {
                    self.store.keep_state(&trial, &model, &compression)?;
                }
                let candidate = strategy.end(model.valid(), compression.clone())?;
                self.finish(trial, candidate, started)?;
            }
        }
        if refines {
            let started = Instant::now();
            model = self.train(strategy, refined, model, &mut compression)?;
            self.finish(refined, strategy.end(model, compression)?, started)?;
            self.store.drop_state(&trial);
        }
        Ok(())
    }

    fn train<C: Strategy<M>>(
        &mut self,
        strategy: &C,
        trial: Trial,
        model: C::Model,
        compression: &mut Compression,
    ) -> Result<C::Model, StudyError>
    where
        W: Workload<C::Model>,
    {
        let stage = FineTune {
            learning_rate: self.recipe.learning_rate,
            epochs: match trial.refined {
                true => self.recipe.refine_epochs,
                false => self.recipe.epochs,
            },
            seed: trial.seed,
            refine: trial.refined,
        };
        let steps = Workload::<M>::steps_per_epoch(self.workload);
        let clock = &mut self.clock;
        let on_step = |epoch, step| clock.train(trial, (epoch, stage.epochs), (step, steps));
        let prepare = |epoch, model| strategy.at_epoch(model, epoch, trial.refined);
        Ok(stage.run_prepared(model, compression, self.workload, on_step, prepare)?)
    }

    // What a trial does to the model; aware training takes this many steps.
    pub(super) fn plan(&self, target: Target, steps: Option<usize>) -> Result<Plan, StudyError> {
        let trial = target.trial;
        let mut plan = Plan::new().select(self.recipe.selection.clone());
        if target.existing {
            plan = plan.prune(Pruning::existing());
        } else if trial.level > 0.0 || trial.steered {
            let PruneLevels {
                scope,
                regrowth,
                ramp,
                ramp_share,
                every,
                at_least,
                keep_zeros,
                prune_frozen,
                ..
            } = self.recipe.prune.clone().unwrap_or_default();
            let pruning = match steps {
                // Masks move by the steered threshold alone.
                None if trial.steered => Pruning::to(0.0),
                None => Pruning::to(trial.level),
                Some(steps) => {
                    let end = (steps as f64 * ramp_share).round() as usize;
                    Pruning::along(ramp.curve(trial.level, end))
                }
            };
            let pruning = pruning.by_shared(self.criterion.clone());
            let pruning = pruning.pattern(trial.pattern).scope(scope);
            let pruning = pruning.at_least(at_least).keep_zeros(keep_zeros);
            let pruning = pruning.prune_frozen(prune_frozen);
            plan = plan.prune(pruning.regrowth(regrowth).every(every));
        }
        if trial.bits < 32 {
            let QuantizeLevels { every, .. } = self.recipe.quantize.clone().unwrap_or_default();
            let quantization = Quantization::to(self.recipe.scheme(trial.bits)?);
            let quantization = quantization.by_shared(self.quantizer.clone());
            plan = plan.quantize(quantization.every(every));
        }
        Ok(plan)
    }

    // Takes a finished trial over; whether there is one.
    pub(super) fn found(&mut self, trial: Trial, epochs: usize) -> bool {
        let Some(row) = self.store.row(&trial) else {
            return false;
        };
        self.rows.push(row.clone());
        self.clock.found(trial, epochs);
        true
    }

    pub(super) fn finish<N: Module>(
        &mut self,
        trial: Trial,
        candidate: Candidate<N>,
        started: Instant,
    ) -> Result<(), StudyError>
    where
        W: Workload<N>,
    {
        self.clock.measure(trial);
        let row = self
            .evaluator
            .measure(trial, &candidate, self.workload, started)?;
        let Candidate {
            archive, integers, ..
        } = candidate;
        self.store.keep(row.clone(), archive, integers)?;
        self.rows.push(row);
        self.clock.measured(trial);
        Ok(())
    }
}
