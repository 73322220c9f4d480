use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use super::opened::{DESCRIPTION, Opened, Piece, Pieces, VERSION, deflate};
use super::{FormatError, write_atomically};

const RESERVED: &str = "__metadata__";

/// A named run of elements in a [`Container`].
///
/// ```
/// use burn_compress::format::Part;
/// let part = Part::bytes("codes", vec![1, 2, 3]);
/// assert_eq!(part.shape, [3]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its name in the container.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its elements, little-endian.
    pub bytes: Vec<u8>,
}

impl Part {
    /// A part of plain bytes.
    pub fn bytes(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            dtype: Dtype::U8,
            shape: vec![bytes.len()],
            bytes,
        }
    }
}

/// A [safetensors](https://github.com/huggingface/safetensors) file with a described, versioned and
/// checksummed content: what every file of this library is.
///
/// ```
/// use burn_compress::format::{Container, Part};
/// let container = Container::new("notes", "about".into(), vec![Part::bytes("text", b"hi".to_vec())]);
/// let bytes = container.to_bytes()?;
/// assert_eq!(Container::from_bytes("notes", &bytes)?, container);
/// assert!(Container::from_bytes("model", &bytes).is_err());
///
/// let folder = tempfile::tempdir()?;
/// let size = container.save(folder.path().join("my.notes"))?;
/// assert_eq!(size, bytes.len() as u64);
/// let notes = Container::load("notes", folder.path().join("my.notes"))?;
/// assert_eq!(notes.description(), "about");
/// assert_eq!(notes.into_parts()["text"].bytes, b"hi");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    kind: String,
    description: String,
    parts: BTreeMap<String, Part>,
}

impl Container {
    /// A container of this kind (such as `model`), with a description (JSON, by custom) and parts.
    /// Of two parts with one name the last counts.
    pub fn new(kind: &str, description: String, parts: Vec<Part>) -> Self {
        let named = parts.into_iter().map(|part| (part.name.clone(), part));
        Self {
            kind: kind.to_string(),
            description,
            parts: named.collect(),
        }
    }

    /// The description.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The parts by name.
    pub fn into_parts(self) -> BTreeMap<String, Part> {
        self.parts
    }

    /// The file's bytes: the same for the same content. Fails with [`FormatError::Tensor`] for a part
    /// whose bytes do not fit its type and shape, or whose name is one that is kept for the header
    /// (`__metadata__`) or the description (`__description__`).
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        for name in [RESERVED, DESCRIPTION] {
            if self.parts.contains_key(name) {
                return Err(FormatError::tensor(name, "a reserved name"));
            }
        }
        let described = !self.description.is_empty();
        let description = described.then(|| Part::bytes(DESCRIPTION, deflate(&self.description)));
        let parts = || self.parts.values().chain(&description);
        let pieces = parts().map(|part| {
            let piece = Piece {
                dtype: part.dtype,
                shape: part.shape.clone(),
                bytes: &part.bytes,
            };
            (part.name.clone(), piece)
        });
        let checksum = Pieces(pieces.collect()).checksum(&self.kind);
        let metadata = BTreeMap::from([
            ("burn-compress", VERSION.to_string()),
            ("kind", self.kind.clone()),
            ("checksum", checksum),
        ]);
        let views = parts().map(|part| {
            TensorView::new(part.dtype, part.shape.clone(), &part.bytes)
                .map(|view| (part.name.as_str(), view))
                .map_err(|error| FormatError::tensor(&part.name, error.to_string()))
        });
        let views = views.collect::<Result<Vec<_>, FormatError>>()?;
        let bytes = safetensors::serialize(views, None)
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        with_metadata(&bytes, &metadata)
    }

    /// Reads a file's bytes. Fails with [`FormatError::Version`] for a file of a newer version, and
    /// with [`FormatError::Corrupt`] for one of another kind, or that was cut or altered anywhere. The
    /// description takes at most 1024 bytes for each of the file's, all else as many as there.
    pub fn from_bytes(kind: &str, bytes: &[u8]) -> Result<Self, FormatError> {
        let opened = Opened::new(kind, bytes)?;
        let parts = opened.pieces.0.into_iter().map(|(name, piece)| Part {
            name,
            dtype: piece.dtype,
            shape: piece.shape,
            bytes: piece.bytes.to_vec(),
        });
        Ok(Self::new(kind, opened.description, parts.collect()))
    }

    /// Writes the file, whole or not at all; returns its size in bytes. Fails as
    /// [`to_bytes`](Self::to_bytes) and [`write_atomically`] do.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<u64, FormatError> {
        let bytes = self.to_bytes()?;
        write_atomically(path.as_ref(), &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// Reads a file of this kind. Fails with [`FormatError::Io`], or as
    /// [`from_bytes`](Self::from_bytes) does.
    pub fn load(kind: &str, path: impl AsRef<Path>) -> Result<Self, FormatError> {
        Self::from_bytes(kind, &read(path.as_ref())?)
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FormatError> {
    std::fs::read(path).map_err(|source| FormatError::Io {
        path: path.to_path_buf(),
        source,
    })
}

// Puts metadata in front of a safetensors header. The safetensors crate writes them in the order of a
// hash map, another one in each run; equal models are to be equal files.
fn with_metadata(bytes: &[u8], metadata: &BTreeMap<&str, String>) -> Result<Vec<u8>, FormatError> {
    let no_header = || FormatError::corrupt("no safetensors header");
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(no_header)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| no_header())?;
    let (header, data) = rest.split_at_checked(length).ok_or_else(no_header)?;
    let tensors = header
        .trim_ascii()
        .strip_prefix(b"{")
        .ok_or_else(no_header)?;
    let metadata =
        serde_json::to_string(metadata).map_err(|error| FormatError::corrupt(error.to_string()))?;
    let mut header = format!("{{\"{RESERVED}\":{metadata}").into_bytes();
    if tensors != b"}" {
        header.push(b',');
    }
    header.extend_from_slice(tensors);
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes()[..], &header, data].concat())
}
