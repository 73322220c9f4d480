use crate::format::WeightView;

/// The levels of layers that come to this level together, by the Erdős–Rényi kernel rule: the share that
/// a layer keeps is proportional to the sum of its dimensions over their product, and 1 at most.
pub(crate) fn erk(level: f64, views: &[&WeightView]) -> Vec<f64> {
    let weights = |view: &WeightView| view.len() as f64;
    let ratios = views.iter().map(|view| {
        let taps: usize = view.dims().iter().skip(2).sum();
        let inputs = view.columns() / view.taps().max(1);
        (view.rows() + inputs + taps) as f64 / weights(view).max(1.0)
    });
    let ratios: Vec<f64> = ratios.collect();
    let total: f64 = views.iter().map(|view| weights(view)).sum();
    let mut dense = vec![false; views.len()];
    loop {
        let (mut left, mut shares) = (total * (1.0 - level), 0.0);
        for ((view, ratio), dense) in views.iter().zip(&ratios).zip(&dense) {
            match dense {
                true => left -= weights(view),
                false => shares += ratio * weights(view),
            }
        }
        let factor = if shares > 0.0 { left / shares } else { 0.0 };
        let full = (0..views.len()).find(|&layer| !dense[layer] && ratios[layer] * factor > 1.0);
        match full {
            Some(layer) => dense[layer] = true,
            None => {
                let layers = ratios.iter().zip(dense);
                let levels = layers.map(|(ratio, dense)| match dense {
                    true => 0.0,
                    false => (1.0 - ratio * factor).clamp(0.0, 1.0),
                });
                return levels.collect();
            }
        }
    }
}
