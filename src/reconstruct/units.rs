//! Which weights of a row go together, and how many of a group may go.

use crate::format::WeightView;
use crate::prune::Pattern;

/// The columns of a row as a pattern sees them.
#[derive(Debug, Clone)]
pub(super) struct Units {
    /// The columns of each unit.
    pub columns: Vec<Vec<usize>>,
    /// The group of each unit, and how many of each group may go; empty where any number may.
    pub group: Vec<usize>,
    pub quota: Vec<usize>,
}

impl Units {
    pub fn new(pattern: Pattern, view: &WeightView) -> Self {
        let taps = view.taps().max(1);
        let inputs = view.columns() / taps;
        let single = || (0..inputs * taps).map(|column| vec![column]).collect();
        let blocks = |channels: usize| -> Vec<Vec<usize>> {
            let starts = (0..inputs).step_by(channels.max(1));
            let starts = starts.flat_map(|start| (0..taps).map(move |tap| (start, tap)));
            let columns = |(start, tap): (usize, usize)| {
                let channels = start..(start + channels).min(inputs);
                channels.map(|channel| channel * taps + tap).collect()
            };
            starts.map(columns).collect()
        };
        match pattern {
            Pattern::Unstructured => Self {
                columns: single(),
                group: Vec::new(),
                quota: Vec::new(),
            },
            Pattern::Block { channels } => Self {
                columns: blocks(channels),
                group: Vec::new(),
                quota: Vec::new(),
            },
            Pattern::NOfM { n, m } => {
                let groups = blocks(m);
                let mut group = vec![0; inputs * taps];
                for (place, columns) in groups.iter().enumerate() {
                    for column in columns {
                        group[*column] = place;
                    }
                }
                Self {
                    columns: single(),
                    group,
                    quota: groups.iter().map(|g| g.len().saturating_sub(n)).collect(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Units;
    use crate::format::WeightView;
    use crate::prune::Pattern;

    #[test]
    fn blocks_lie_at_one_tap() {
        let view = WeightView::new(vec![1, 3, 2], 0).unwrap();
        let units = Units::new(Pattern::Block { channels: 2 }, &view);
        assert_eq!(units.columns, [vec![0, 2], vec![1, 3], vec![4], vec![5]]);
        let units = Units::new(Pattern::NOfM { n: 1, m: 2 }, &view);
        assert_eq!(units.group, [0, 1, 0, 1, 2, 3]);
        assert_eq!(units.quota, [1, 1, 0, 0]);
    }
}
