//! What is made of the models that were run: the best, the front, the report.

use burn::module::Module;

use super::run::{Runner, cost};
use super::{Candidate, Excess, Limit, Origin, SearchError, SearchReport, SearchedModel};
use crate::report::pareto_front;

impl<M: Module, const D: usize> Runner<'_, M, D> {
    fn excess(&self, model: &SearchedModel, limits: &[(Limit, f64)]) -> Vec<Excess> {
        let points = self.budget.points.zip(self.lost(model));
        let points = points.map(|(wanted, found)| (Limit::Points, wanted, found));
        let costs = limits
            .iter()
            .map(|(of, wanted)| (*of, *wanted, cost(model, *of)));
        let all = costs.chain(points);
        let all = all.filter(|(_, wanted, found)| found > wanted);
        let all = all.map(|(limit, wanted, found)| Excess {
            limit,
            wanted,
            found,
        });
        all.collect()
    }

    /// The report.
    pub fn report(&self) -> Result<SearchReport, SearchError> {
        let limits = self.limits()?;
        // Better first: less time under a limit of points, else less lost.
        let rank = |model: &SearchedModel| match (self.budget.points, model.score) {
            (Some(_), _) => model.milliseconds,
            (None, Some(score)) => -score,
            (None, None) => model.damage,
        };
        let models = self.models.iter().enumerate();
        // As it came, where that is allowed.
        let untouched = self.options.candidates.contains(&Candidate::default());
        let made = models.filter(|(_, model)| untouched || model.origin != Origin::Original);
        let ranked = made.map(|(index, model)| {
            let excess = self.excess(model, &limits);
            let over = excess.iter().map(Excess::size).fold(0.0, f64::max);
            (index, over, rank(model))
        });
        let best = ranked.min_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)));
        let best = best.map_or(0, |(index, ..)| index);
        let points = self.models.iter().map(|model| {
            let quality = model.score.unwrap_or(-model.damage);
            (model.milliseconds, quality)
        });
        let points: Vec<(f64, f64)> = points.collect();
        Ok(SearchReport {
            budget: self.budget.clone(),
            front: pareto_front(&points),
            excess: self.excess(&self.models[best], &limits),
            best,
            models: self.models.clone(),
            left_out: self.left_out.clone(),
            warnings: self.found.warnings.clone(),
        })
    }
}
