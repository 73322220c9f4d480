use std::collections::HashSet;
use std::path::Path;

use super::encoding::{Description, from_pieces};
use super::{Container, Entry, FormatError, Opened, container};

/// A compressed model on disk: a [safetensors](https://github.com/huggingface/safetensors) container
/// that other tools open too, with packed codes as byte tensors and a description in its metadata.
///
/// Codes are coded near their entropy: where zeros are, then what the others are, each with the
/// probabilities of the weight at hand (or packed at their bits, where that is smaller). Of float
/// weights with zeros the mask is coded, the others are as they are. A checksum guards the description
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

    fn to_container(&self) -> Result<Container, FormatError> {
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
        Ok(Self { entries })
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
