use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::encoding::{Description, from_pieces};
use super::{Container, Entry, FormatError, Opened, Payload, container};

/// A compressed model on disk: a [safetensors](https://github.com/huggingface/safetensors) container
/// that other tools open too, with packed codes as byte tensors and a description in its metadata.
///
/// Codes are coded near their entropy: where zeros are, then what the others are, each with the
/// probabilities of the weight at hand (or packed at their bits, where that is smaller). Of float
/// weights with zeros the mask is coded, the others are as they are. Equal tensors can be stored once
/// ([`of`](Self::of)). A checksum guards the description
/// and the content: a file that was cut or altered does not load.
///
/// ```
/// use burn_compress::format::{Archive, Entry, Payload};
/// let archive = Archive {
///     entries: vec![Entry {
///         path: "fc.weight".into(),
///         dims: vec![1, 4],
///         output_axis: 0,
///         groups: 1,
///         payload: Payload::Sparse(vec![0.0, 0.0, 2.5, 0.0]),
///     }],
/// };
/// let bytes = archive.to_bytes()?;
/// assert_eq!(Archive::from_bytes(&bytes)?, archive);
/// assert!(archive.entropy_bytes() <= bytes.len() as u64);
///
/// let folder = tempfile::tempdir()?;
/// let size = archive.save(folder.path().join("model.bcm"))?;
/// assert_eq!(size, bytes.len() as u64);
/// assert_eq!(Archive::load(folder.path().join("model.bcm"))?, archive);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Archive {
    /// The model's tensors, each path once.
    pub entries: Vec<Entry>,
}

impl Archive {
    const KIND: &'static str = "model";

    /// An archive of these tensors. The content of equal ones, such as a parameter in two places of a
    /// module, is kept once: with the first of them.
    ///
    /// ```
    /// use burn_compress::format::{Archive, Entry, Payload};
    /// let entry = |path: &str| Entry {
    ///     path: path.into(),
    ///     dims: vec![1, 2],
    ///     output_axis: 0,
    ///     groups: 1,
    ///     payload: Payload::Sparse(vec![0.0, 2.5]),
    /// };
    /// let archive = Archive::of(vec![entry("input.weight"), entry("output.weight")]);
    /// assert_eq!(archive.entries[1].payload, Payload::SameAs("input.weight".into()));
    /// assert_eq!(archive.content("output.weight"), Some(&Payload::Sparse(vec![0.0, 2.5])));
    /// ```
    pub fn of(mut entries: Vec<Entry>) -> Self {
        let mut alike: HashMap<(Vec<usize>, usize), Vec<usize>> = HashMap::new();
        for index in 0..entries.len() {
            let (before, rest) = entries.split_at_mut(index);
            let entry = &mut rest[0];
            let firsts = alike.entry((entry.dims.clone(), entry.output_axis));
            let firsts = firsts.or_default();
            let first = firsts.iter().map(|&first| &before[first]);
            let first = { first }.find(|first| first.payload == entry.payload);
            match first {
                Some(first) => entry.payload = Payload::SameAs(first.path.clone()),
                None => firsts.push(index),
            }
        }
        Self { entries }
    }

    /// The content of the tensor at this path, which may be kept with another one.
    pub fn content(&self, path: &str) -> Option<&Payload> {
        let of = |path: &str| self.entries.iter().find(|entry| entry.path == path);
        match &of(path)?.payload {
            Payload::SameAs(other) => of(other).map(|entry| &entry.payload),
            payload => Some(payload),
        }
    }

    /// Whether all entries fit their dimensions and each other. Fails with [`FormatError::Tensor`] where
    /// one does not, where a path occurs twice, and where [`Payload::SameAs`] names no tensor before it
    /// that has the same dimensions and output axis and a content of its own.
    pub fn check(&self) -> Result<(), FormatError> {
        let mut before: HashMap<&str, &Entry> = HashMap::new();
        for entry in &self.entries {
            entry.check()?;
            if let Payload::SameAs(path) = &entry.payload {
                let form = |entry: &Entry| (entry.dims.clone(), entry.output_axis);
                match before.get(path.as_str()) {
                    None => return Err(entry.wrong(format!("no tensor `{path}` before it"))),
                    Some(other) if matches!(other.payload, Payload::SameAs(_)) => {
                        return Err(entry.wrong(format!("`{path}` has no content of its own")));
                    }
                    Some(other) if form(other) != form(entry) => {
                        let what = format!("`{path}` has other dimensions: {:?}", other.dims);
                        return Err(entry.wrong(what));
                    }
                    Some(_) => {}
                }
            }
            if before.insert(&entry.path, entry).is_some() {
                return Err(entry.wrong("occurs twice"));
            }
        }
        Ok(())
    }

    fn to_container(&self) -> Result<Container, FormatError> {
        self.check()?;
        let mut parts = Vec::new();
        let tensors = self.entries.iter().map(|entry| entry.encode(&mut parts));
        let tensors: Vec<Description> = tensors.collect::<Result<_, _>>()?;
        let mut names = HashSet::new();
        if let Some(part) = parts.iter().find(|part| !names.insert(&part.name)) {
            return Err(FormatError::tensor(&part.name, "occurs twice"));
        }
        let description = serde_json::to_string(&tensors)
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        Ok(Container::new(Self::KIND, description, parts))
    }

    /// The file's bytes. Fails with [`FormatError::Tensor`] where an entry contradicts itself or a
    /// path occurs twice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        self.to_container()?.to_bytes()
    }

    /// Reads a file's bytes. Fails with [`FormatError::Version`] for a file of a newer version, with
    /// [`FormatError::Corrupt`] for one that was cut or altered, and with [`FormatError::Tensor`] for
    /// one that contradicts itself. Takes memory for at most 1024 weights a byte, of four bytes each;
    /// files hold as many only where all weights are zero.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let opened = Opened::new(Self::KIND, bytes)?;
        let tensors: Vec<Description> = serde_json::from_str(&opened.description)
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        let entries = from_pieces(tensors, opened.pieces)?;
        let archive = Self { entries };
        archive.check()?;
        Ok(archive)
    }

    /// Writes the file, whole or not at all; returns its size in bytes. Fails as
    /// [`to_bytes`](Self::to_bytes) and [`write_atomically`](super::write_atomically) do.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<u64, FormatError> {
        self.to_container()?.save(path)
    }

    /// Reads a file. Fails with [`FormatError::Io`], or as [`from_bytes`](Self::from_bytes) does.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        Self::from_bytes(&container::read(path.as_ref())?)
    }

    /// Least size in bytes that coding each tensor's symbols one by one could reach: the sum of
    /// [`Payload::entropy_bits`](super::Payload::entropy_bits). Where zeros cluster, a file can be
    /// smaller: it codes the gaps between the others.
    pub fn entropy_bytes(&self) -> u64 {
        let bits: f64 = self.entries.iter().map(|e| e.payload.entropy_bits()).sum();
        (bits / 8.0).ceil() as u64
    }
}
