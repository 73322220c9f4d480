use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{CompressError, Layer};
use crate::format::WeightView;

/// Which parameters are compressed.
///
/// By default the weights of all convolution and linear layers; norms, biases and embeddings stay out
/// unless a pattern names them. A pattern is a path (`layer1.0.conv1.weight`), the path of a module
/// that holds parameters (`layer1`: its convolution and linear weights), a path with `*` for any run
/// of characters and `?` for one, or a regular expression after `re:`.
///
/// ```
/// use burn_compress::compress::Selection;
/// let selection = Selection::default().except(["conv1", "linear"]);
/// let only = Selection::only(["layer?.*.conv2.weight", "re:^layer3\\..*weight$"]);
/// # let _ = (selection, only);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    only: Vec<String>,
    except: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<String, usize>,
}

impl Selection {
    /// Only what these patterns match.
    pub fn only<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self {
            only: patterns.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Without what these patterns match.
    pub fn except<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.except.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// States the groups of the transposed convolutions that this pattern matches, for modules that do
    /// not show them: neither by a bias nor in what they print by `Debug`.
    /// [`Graph::groups`](crate::graph::Graph::groups) has those of a captured graph.
    ///
    /// ```
    /// use burn_compress::compress::Selection;
    /// let selection = Selection::default().groups("decoder.up", 4);
    /// # let _ = selection;
    /// ```
    pub fn groups(mut self, pattern: impl Into<String>, groups: usize) -> Self {
        self.groups.insert(pattern.into(), groups);
        self
    }

    /// The selected ones of these parameters, in order. Fails where a pattern is malformed or
    /// matches nothing, where nothing is left, and where the groups of a selected transposed
    /// convolution are not known or contradict what is stated.
    pub fn select(&self, layers: &[Layer]) -> Result<Vec<Layer>, CompressError> {
        let layers = &self.with_groups(layers)?[..];
        let only = compile(&self.only, layers)?;
        let except = compile(&self.except, layers)?;
        let selected: Vec<Layer> = layers
            .iter()
            .filter(|layer| match only.is_empty() {
                true => layer.is_weight,
                false => only.iter().any(|pattern| pattern.matches(layer)),
            })
            .filter(|layer| !except.iter().any(|pattern| pattern.matches(layer)))
            .cloned()
            .collect();
        if let Some(layer) = selected.iter().find(|layer| !layer.groups_known) {
            return Err(CompressError::Groups {
                layer: layer.path.clone(),
                what: "they cannot be seen, for it has no bias and prints none".into(),
            });
        }
        match selected.is_empty() {
            true => Err(CompressError::NothingSelected),
            false => Ok(selected),
        }
    }

    // The layers, with what is stated of their groups.
    pub(super) fn with_groups(&self, layers: &[Layer]) -> Result<Vec<Layer>, CompressError> {
        let mut layers = layers.to_vec();
        for (text, &groups) in &self.groups {
            let patterns = compile(std::slice::from_ref(text), &layers)?;
            let matched = |layer: &&mut Layer| patterns.iter().any(|p| p.matches(layer));
            for layer in layers.iter_mut().filter(matched) {
                let wrong = |what: String| CompressError::Groups {
                    layer: layer.path.clone(),
                    what,
                };
                let view = &layer.view;
                if view.output_axis() == 0 || view.dims().len() < 3 {
                    return Err(wrong("it is no transposed convolution".into()));
                }
                if layer.groups_known && view.groups() != groups {
                    let known = view.groups();
                    return Err(wrong(format!("{groups} were stated, it has {known}")));
                }
                let stated = WeightView::grouped(view.dims().to_vec(), 1, groups);
                layer.view = stated.map_err(|error| wrong(error.to_string()))?;
                layer.groups_known = true;
            }
        }
        Ok(layers)
    }
}

enum Pattern {
    // A path, or the path of the module that holds it.
    Path(String),
    Expression(Regex),
}

impl Pattern {
    fn matches(&self, layer: &Layer) -> bool {
        match self {
            Self::Path(path) if *path == layer.path => true,
            Self::Path(path) => {
                layer.is_weight
                    && layer
                        .path
                        .strip_prefix(path.as_str())
                        .is_some_and(|rest| rest.starts_with('.'))
            }
            Self::Expression(expression) => expression.is_match(&layer.path),
        }
    }
}

fn compile(patterns: &[String], layers: &[Layer]) -> Result<Vec<Pattern>, CompressError> {
    patterns
        .iter()
        .map(|text| {
            let expression = match text.strip_prefix("re:") {
                Some(expression) => Some(expression.to_string()),
                None if text.contains(['*', '?']) => {
                    let escaped = regex::escape(text);
                    let glob = escaped.replace("\\*", ".*").replace("\\?", ".");
                    Some(format!("^{glob}$"))
                }
                None => None,
            };
            let pattern = match expression {
                None => Pattern::Path(text.clone()),
                Some(expression) => {
                    let compiled = Regex::new(&expression);
                    Pattern::Expression(compiled.map_err(|error| CompressError::Pattern {
                        pattern: text.clone(),
                        reason: error.to_string(),
                    })?)
                }
            };
            if layers.iter().any(|layer| pattern.matches(layer)) {
                return Ok(pattern);
            }
            Err(CompressError::NoMatch {
                pattern: text.clone(),
                known: layers.iter().map(|layer| layer.path.clone()).collect(),
            })
        })
        .collect()
}
