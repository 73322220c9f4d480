use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;

use super::measure::{Candidate, Yardstick};
use super::progress::Clock;
use super::store::{Store, unfit};
use super::treatment::{Treatment, Weights};
use super::{Cell, StudyError};
use crate::compress::{Compression, Layer, Observations, Plan, Pruning, Quantization, unpack};
use crate::prune::Pruner;
use crate::quantize::Quantizer;
use crate::recipe::{PruneLevels, QuantizeLevels, Recipe};
use crate::report::{Choice, Mode, Row, Stage, choose};
use crate::train::{FineTune, Workload};

/// Goes through a recipe, cell by cell.
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
    pub yardstick: Yardstick,
    pub store: Store,
    pub clock: Clock<'a>,
    pub rows: Vec<Row>,
    /// How cells with quantized weights treat activations.
    pub treatment: &'a T,
}

// What a cell compresses to.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub cell: Cell,
    /// The weights come pruned already: keep their zeros.
    pub existing: bool,
}

impl<M, W, T> Runner<'_, M, W, T>
where
    M: Module,
    T: Treatment<M>,
    W: Workload<M> + Workload<T::Model>,
{
    pub fn into_parts(self) -> (M, Store, Vec<Row>) {
        (self.module, self.store, self.rows)
    }

    /// Measures every cell that is not finished yet.
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
        let cell = Cell::baseline(seed);
        let candidate = self.yardstick.baseline(&self.module)?;
        if let (Some(_), Some(folder)) = (self.store.row(&cell), self.store.folder())
            && self.store.archive(&cell)? != candidate.archive
        {
            return Err(StudyError::AnotherStudy {
                folder: folder.to_path_buf(),
                what: "the model",
            });
        }
        if self.found(cell, 0) {
            self.yardstick.score = self.rows.last().map(|row| row.score);
            return Ok(());
        }
        self.finish(cell, candidate, Instant::now())?;
        self.yardstick.score = self.rows.last().map(|row| row.score);
        Ok(())
    }

    fn prune(&mut self, seed: u64, first: u64) -> Result<(), StudyError> {
        let Some(prune) = self.recipe.prune.clone() else {
            return Ok(());
        };
        for &pattern in &prune.patterns {
            for level in prune.levels_of(pattern) {
                let cell = Cell {
                    stage: Stage::Prune,
                    level,
                    pattern,
                    ..Cell::baseline(seed)
                };
                let module = self.module.valid();
                self.level(&Weights, cell, false, &module, seed == first)?;
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
            let cell = Cell {
                stage: Stage::Quantize,
                bits,
                activation_bits: self.treatment.activation_bits(),
                ..Cell::baseline(seed)
            };
            let module = self.module.valid();
            self.level(self.treatment, cell, false, &module, seed == first)?;
        }
        Ok(())
    }

    /// The best pruning level, quantized to the best number of bits.
    fn combine(&mut self, seed: u64) -> Result<(), StudyError> {
        let best = choose(&self.rows, self.recipe.max_drop)?;
        let (Some(prune), Some(quantize)) = (best.prune, best.quantize) else {
            return Ok(());
        };
        let cell = Cell {
            stage: Stage::Combined,
            level: prune.row.level,
            pattern: prune.row.pattern,
            bits: quantize.row.weight_bits,
            activation_bits: quantize.row.activation_bits,
            ..Cell::baseline(seed)
        };
        let module = self.pruned(&prune, seed)?;
        self.level(self.treatment, cell, true, &module, true)
    }

    // The model of the best pruning cell, as this seed trained it.
    fn pruned(&self, choice: &Choice, seed: u64) -> Result<M, StudyError> {
        let chosen = Cell::of(&choice.row);
        let own = Cell { seed, ..chosen };
        let cell = match self.store.row(&own) {
            Some(_) => own,
            None => chosen, // post-training cells do not depend on the seed
        };
        Ok(unpack(self.store.archive(&cell)?, self.module.valid())?)
    }

    /// The four variants of a level: post-training and aware, each as it is and refine-tuned.
    fn level<C: Treatment<M>>(
        &mut self,
        treatment: &C,
        cell: Cell,
        existing: bool,
        module: &M,
        with_post: bool,
    ) -> Result<(), StudyError>
    where
        W: Workload<C::Model>,
    {
        let post = Target {
            cell: Cell {
                mode: Mode::Post,
                ..cell
            },
            existing,
        };
        let aware = Target {
            cell: Cell {
                mode: Mode::Aware,
                ..cell
            },
            existing,
        };
        let trains = self.recipe.epochs > 0;
        let refines = trains && self.recipe.refine_epochs > 0;
        // Without training nothing depends on the seed.
        if with_post {
            self.post(treatment, post, module)?;
        }
        if refines {
            self.refine_post(treatment, post, module)?;
        }
        if trains {
            self.aware(treatment, aware, module, refines)?;
        }
        Ok(())
    }

    fn post<C: Treatment<M>>(
        &mut self,
        treatment: &C,
        target: Target,
        module: &M,
    ) -> Result<(), StudyError>
    where
        W: Workload<C::Model>,
    {
        if self.found(target.cell, 0) {
            return Ok(());
        }
        let started = Instant::now();
        let (module, compression) = self
            .plan(target, None)?
            .attach_with(module.valid(), &self.seen)?;
        let model = treatment.begin(module, &compression)?;
        self.finish(target.cell, treatment.end(model, compression)?, started)
    }

    fn refine_post<C: Treatment<M>>(
        &mut self,
        treatment: &C,
        target: Target,
        module: &M,
    ) -> Result<(), StudyError>
    where
        W: Workload<C::Model>,
    {
        let cell = target.cell.refined();
        if self.found(cell, self.recipe.refine_epochs) {
            return Ok(());
        }
        let started = Instant::now();
        let (module, mut compression) = self
            .plan(target, None)?
            .attach_with(module.valid().train(), &self.seen)?;
        let model = treatment.begin(module, &compression)?;
        let model = self.train(treatment, cell, model, &mut compression)?;
        self.finish(cell, treatment.end(model, compression)?, started)
    }

    fn aware<C: Treatment<M>>(
        &mut self,
        treatment: &C,
        target: Target,
        module: &M,
        refines: bool,
    ) -> Result<(), StudyError>
    where
        W: Workload<C::Model>,
    {
        let (cell, refined) = (target.cell, target.cell.refined());
        let refined_is_there = !refines || self.store.row(&refined).is_some();
        let state = match (self.store.row(&cell), refined_is_there) {
            (Some(_), true) => {
                self.found(cell, self.recipe.epochs);
                if refines {
                    self.found(refined, self.recipe.refine_epochs);
                }
                return Ok(());
            }
            (Some(_), false) => self.store.state(&cell)?,
            (None, _) => None,
        };
        let steps = self.recipe.epochs * Workload::<M>::steps_per_epoch(self.workload);
        let plan = self.plan(target, Some(steps))?;
        let (module, mut compression) = plan.attach_with(module.valid().train(), &self.seen)?;
        let mut model = treatment.begin(module, &compression)?;
        match state {
            // The cell is finished; its training goes on where it was.
            Some((record, state)) => {
                self.found(cell, self.recipe.epochs);
                model = model.try_load_record(record).map_err(unfit)?;
                compression.restore(state)?;
            }
            None => {
                let started = Instant::now();
                model = self.train(treatment, cell, model, &mut compression)?;
                model = compression.freeze(model)?;
                if refines {
                    self.store.keep_state(&cell, &model, &compression)?;
                }
                let candidate = treatment.end(model.valid(), compression.clone())?;
                self.finish(cell, candidate, started)?;
            }
        }
        if refines {
            let started = Instant::now();
            model = self.train(treatment, refined, model, &mut compression)?;
            self.finish(refined, treatment.end(model, compression)?, started)?;
            self.store.drop_state(&cell);
        }
        Ok(())
    }

    fn train<C: Treatment<M>>(
        &mut self,
        treatment: &C,
        cell: Cell,
        model: C::Model,
        compression: &mut Compression,
    ) -> Result<C::Model, StudyError>
    where
        W: Workload<C::Model>,
    {
        let stage = FineTune {
            learning_rate: self.recipe.learning_rate,
            epochs: match cell.refined {
                true => self.recipe.refine_epochs,
                false => self.recipe.epochs,
            },
            seed: cell.seed,
            refine: cell.refined,
        };
        let steps = Workload::<M>::steps_per_epoch(self.workload);
        let clock = &mut self.clock;
        let on_step = |epoch, step| clock.train(cell, (epoch, stage.epochs), (step, steps));
        let prepare = |epoch, model| treatment.at_epoch(model, epoch, cell.refined);
        Ok(stage.run_prepared(model, compression, self.workload, on_step, prepare)?)
    }

    // What a cell does to the model; aware training takes this many steps.
    pub(super) fn plan(&self, target: Target, steps: Option<usize>) -> Result<Plan, StudyError> {
        let cell = target.cell;
        let mut plan = Plan::new().select(self.recipe.selection.clone());
        if target.existing {
            plan = plan.prune(Pruning::existing());
        } else if cell.level > 0.0 || cell.steered {
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
                None if cell.steered => Pruning::to(0.0),
                None => Pruning::to(cell.level),
                Some(steps) => {
                    let end = (steps as f64 * ramp_share).round() as usize;
                    Pruning::along(ramp.curve(cell.level, end))
                }
            };
            let pruning = pruning.by_shared(self.criterion.clone());
            let pruning = pruning.pattern(cell.pattern).scope(scope);
            let pruning = pruning.at_least(at_least).keep_zeros(keep_zeros);
            let pruning = pruning.prune_frozen(prune_frozen);
            plan = plan.prune(pruning.regrowth(regrowth).every(every));
        }
        if cell.bits < 32 {
            let QuantizeLevels { every, .. } = self.recipe.quantize.clone().unwrap_or_default();
            let quantization = Quantization::to(self.recipe.scheme(cell.bits)?);
            let quantization = quantization.by_shared(self.quantizer.clone());
            plan = plan.quantize(quantization.every(every));
        }
        Ok(plan)
    }

    // Takes a finished cell over; whether there is one.
    pub(super) fn found(&mut self, cell: Cell, epochs: usize) -> bool {
        let Some(row) = self.store.row(&cell) else {
            return false;
        };
        self.rows.push(row.clone());
        self.clock.found(cell, epochs);
        true
    }

    pub(super) fn finish<N: Module>(
        &mut self,
        cell: Cell,
        candidate: Candidate<N>,
        started: Instant,
    ) -> Result<(), StudyError>
    where
        W: Workload<N>,
    {
        self.clock.measure(cell);
        let row = self
            .yardstick
            .measure(cell, &candidate, self.workload, started)?;
        let Candidate {
            archive, integers, ..
        } = candidate;
        self.store.keep(row.clone(), archive, integers)?;
        self.rows.push(row);
        self.clock.measured(cell);
        Ok(())
    }
}
