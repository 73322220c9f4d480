use std::path::{Path, PathBuf};

use burn::module::Module;

use super::store::Store;
use super::{StudyError, Trial};
use crate::compress::unpack;
use crate::deploy::float_network;
use crate::format::Archive;
use crate::graph::Graph;
use crate::network::Network;
use crate::recipe::Recipe;
use crate::report::{Report, Row, Warned};

/// What a study found: the report, and the model of each of its rows.
///
/// ```no_run
/// # use burn::nn::Linear;
/// # use burn_compress::study::{Outcome, StudyError};
/// # fn example(outcome: Outcome<Linear>) -> Result<(), StudyError> {
/// let best = outcome.best()?; // a plain model, ready to run
/// outcome.save_best("model.bcm")?; // the same, packed
/// outcome.save("target/study", "report")?; // report.html, .json, .csv and the recipe
/// # Ok(())
/// # }
/// ```
pub struct Outcome<M> {
    report: Report,
    recipe: Recipe,
    module: M,
    store: Store,
    /// None of a forward pass that has none.
    graph: Option<Graph>,
}

impl<M: Module> Outcome<M> {
    pub(super) fn new(
        report: Report,
        recipe: Recipe,
        module: M,
        store: Store,
        graph: Option<Graph>,
    ) -> Self {
        Self {
            report,
            recipe,
            module,
            store,
            graph,
        }
    }

    /// The report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What should be known of the models, the worst of each kind and layer: what the table, the JSON
    /// and the page tell.
    pub fn warnings(&self) -> &[Warned] {
        self.report.warnings()
    }

    /// What reproduces the study.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The packed model of a row, by its index in the report.
    pub fn archive(&self, row: usize) -> Result<Archive, StudyError> {
        self.store.archive(&Trial::of(self.row(row)?))
    }

    /// The integer form of a row's model, by its index in the report; none where its activations are
    /// floats.
    pub fn integers(&self, row: usize) -> Result<Option<Network>, StudyError> {
        self.store.integers(&Trial::of(self.row(row)?))
    }

    /// The network of a row, by its index in the report: in whole numbers where its activations are
    /// quantized, else with activations in floats. None where the forward pass has no graph
    /// ([`Study::run_module`](crate::Study::run_module)).
    pub fn network(&self, row: usize) -> Result<Option<Network>, StudyError> {
        if let Some(integers) = self.integers(row)? {
            return Ok(Some(integers));
        }
        let Some(graph) = &self.graph else {
            return Ok(None);
        };
        let bits = self.row(row)?.weight_bits;
        Ok(Some(float_network(graph, &self.model(row)?, bits)?))
    }

    /// The model of a row, by its index in the report: plain, in validation mode. Its weights are
    /// compressed; quantized activations are in [`integers`](Self::integers) alone.
    pub fn model(&self, row: usize) -> Result<M, StudyError> {
        Ok(unpack(self.archive(row)?, self.module.valid())?)
    }

    /// The best model: the smallest within the budget, else the one that loses least.
    pub fn best(&self) -> Result<M, StudyError> {
        self.model(self.best_row())
    }

    /// Writes the [network](Self::network) of the best model, as
    /// [`Program::load`](crate::engine::Program::load) reads it; where the forward pass has no graph, its
    /// packed weights, as [`load`](crate::compress::load) reads them. Returns its size in bytes.
    pub fn save_best(&self, path: impl AsRef<Path>) -> Result<u64, StudyError> {
        match self.network(self.best_row())? {
            Some(network) => Ok(network.save(path)?),
            None => Ok(self.archive(self.best_row())?.save(path)?),
        }
    }

    /// Writes the report (`STEM.json`, `.csv`, and `.html` where plots are built in) and the recipe
    /// (`recipe.toml`) into a folder. Returns the paths.
    pub fn save(&self, folder: impl AsRef<Path>, stem: &str) -> Result<Vec<PathBuf>, StudyError> {
        let folder = folder.as_ref();
        let mut paths = self.report.save(folder, stem)?;
        let recipe = folder.join("recipe.toml");
        self.recipe.save(&recipe)?;
        paths.push(recipe);
        Ok(paths)
    }

    fn row(&self, row: usize) -> Result<&Row, StudyError> {
        let rows = self.report.rows();
        let missing = StudyError::NoModel {
            row,
            rows: rows.len(),
        };
        rows.get(row).ok_or(missing)
    }

    fn best_row(&self) -> usize {
        let best = self.report.best().overall.as_ref();
        best.map_or(0, |choice| choice.index)
    }
}
