use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{AttachError, Layer};

/// Which parameters are compressed.
///
/// By default the weights of all convolution and linear layers; norms, biases and embeddings stay out
/// unless a pattern names them. A pattern is a path (`layer1.0.conv1.weight`), the path of a module
/// that holds parameters (`layer1`: its convolution and linear weights), a path with `*` for any run
/// of characters and `?` for one, or a regular expression after `re:`.
///
/// ```
/// use burn_compress::attach::Selection;
/// let selection = Selection::default().except(["conv1", "linear"]);
/// let only = Selection::only(["layer?.*.conv2.weight", "re:^layer3\\..*weight$"]);
/// # let _ = (selection, only);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    only: Vec<String>,
    except: Vec<String>,
}

impl Selection {
    /// Only what these patterns match.
    pub fn only<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self {
            only: patterns.into_iter().map(Into::into).collect(),
            except: Vec::new(),
        }
    }

    /// Without what these patterns match.
    pub fn except<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.except.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// The selected ones of these parameters, in order. Fails where a pattern is malformed or
    /// matches nothing, and where nothing is left.
    pub fn select(&self, layers: &[Layer]) -> Result<Vec<Layer>, AttachError> {
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
        match selected.is_empty() {
            true => Err(AttachError::NothingSelected),
            false => Ok(selected),
        }
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

fn compile(patterns: &[String], layers: &[Layer]) -> Result<Vec<Pattern>, AttachError> {
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
                    Pattern::Expression(compiled.map_err(|error| AttachError::Pattern {
                        pattern: text.clone(),
                        reason: error.to_string(),
                    })?)
                }
            };
            if layers.iter().any(|layer| pattern.matches(layer)) {
                return Ok(pattern);
            }
            Err(AttachError::NoMatch {
                pattern: text.clone(),
                known: layers.iter().map(|layer| layer.path.clone()).collect(),
            })
        })
        .collect()
}
