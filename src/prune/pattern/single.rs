use super::Rule;

/// [`Pattern::Unstructured`](super::Pattern::Unstructured).
#[derive(Debug, Clone, Copy)]
pub(super) struct Single;

impl Rule for Single {
    fn name(&self) -> String {
        "unstructured".into()
    }

    fn words(&self) -> Option<String> {
        None
    }
}
