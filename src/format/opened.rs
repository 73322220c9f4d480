//! A file's bytes as what they hold, before anything is copied.

use std::borrow::Cow;
use std::collections::BTreeMap;

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use safetensors::tensor::{Dtype, Metadata};

use super::FormatError;
use super::elements::from_le_bytes;

/// The one version that is written and read.
pub(super) const VERSION: u32 = 1;
/// The part that holds the description, deflated; there is none where there is nothing to describe.
pub(super) const DESCRIPTION: &str = "__description__";
/// Bytes of a description, or weights, that a byte can stand for, at most.
pub(crate) const MOST_IN_A_BYTE: usize = 1024;

/// A part whose bytes lie in the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: &'a [u8],
}

/// A file that was checked: version, kind and checksum.
pub(crate) struct Opened<'a> {
    pub description: String,
    pub pieces: Pieces<'a>,
}

impl<'a> Opened<'a> {
    pub fn new(kind: &str, bytes: &'a [u8]) -> Result<Self, FormatError> {
        let cut = || FormatError::corrupt("its header is cut");
        let (length, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
        let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
        // Its white space is spaces, as safetensors pads it: another kind would be the same JSON, and an
        // altered byte there go unseen.
        if header.iter().any(|byte| b"\t\n\r".contains(byte)) {
            return Err(FormatError::corrupt(
                "its header has white space of another kind",
            ));
        }
        let header: Metadata = serde_json::from_slice(header)
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        // A map of our own: which one safetensors has depends on its features.
        let mut fields: BTreeMap<String, String> =
            header.metadata().clone().into_iter().flatten().collect();
        // The version is read first: what else a newer file holds is unknown.
        check_version(&field(&mut fields, "burn-compress")?)?;
        let found = field(&mut fields, "kind")?;
        if found != kind {
            let wanted = kind.to_string();
            return Err(FormatError::Kind { found, wanted });
        }
        if header.data_len() != data.len() {
            return Err(FormatError::corrupt("it is longer or shorter than it says"));
        }
        let pieces = header.tensors().into_iter().map(|(name, info)| {
            let (from, to) = info.data_offsets;
            let bytes = data.get(from..to).ok_or_else(cut)?;
            let (dtype, shape) = (info.dtype, info.shape.clone());
            Ok((
                name,
                Piece {
                    dtype,
                    shape,
                    bytes,
                },
            ))
        });
        let mut pieces = Pieces(pieces.collect::<Result<_, FormatError>>()?);
        let checksum = field(&mut fields, "checksum")?;
        if pieces.checksum(kind) != checksum {
            return Err(FormatError::corrupt("the checksum differs"));
        }
        let description = match pieces.0.contains_key(DESCRIPTION) {
            true => inflate(pieces.take("", DESCRIPTION, Some(Dtype::U8))?.bytes)?,
            false => String::new(),
        };
        Ok(Self {
            description,
            pieces,
        })
    }
}

fn field(fields: &mut BTreeMap<String, String>, name: &str) -> Result<String, FormatError> {
    let missing = || FormatError::corrupt(format!("no `{name}` in its metadata"));
    fields.remove(name).ok_or_else(missing)
}

fn check_version(found: &str) -> Result<(), FormatError> {
    match found.parse::<u32>() {
        Ok(VERSION) => Ok(()),
        Ok(found) if found > VERSION => Err(FormatError::Version {
            found,
            supported: VERSION,
        }),
        _ => Err(FormatError::corrupt(format!("version `{found}`"))),
    }
}

pub(super) fn deflate(description: &str) -> Vec<u8> {
    let deflated = compress_to_vec_zlib(description.as_bytes(), 9);
    match deflated.len().saturating_mul(MOST_IN_A_BYTE) < description.len() {
        true => compress_to_vec_zlib(description.as_bytes(), 0),
        false => deflated,
    }
}

fn inflate(bytes: &[u8]) -> Result<String, FormatError> {
    let most = bytes.len().saturating_mul(MOST_IN_A_BYTE);
    let text = decompress_to_vec_zlib_with_limit(bytes, most);
    let text = text.map_err(|error| FormatError::corrupt(error.to_string()))?;
    String::from_utf8(text).map_err(|error| FormatError::corrupt(error.to_string()))
}

/// The parts by name, each to be taken once.
pub(crate) struct Pieces<'a>(pub BTreeMap<String, Piece<'a>>);

impl<'a> Pieces<'a> {
    /// The part of a tensor, of this type.
    pub fn take(
        &mut self,
        path: &str,
        suffix: &str,
        dtype: Option<Dtype>,
    ) -> Result<Piece<'a>, FormatError> {
        let name: Cow<str> = match path {
            "" => suffix.into(),
            path => format!("{path}{suffix}").into(),
        };
        let piece = self.0.remove(&*name);
        let piece =
            piece.ok_or_else(|| FormatError::tensor(&name, "missing, or described twice"))?;
        match dtype {
            Some(dtype) if piece.dtype != dtype => {
                Err(FormatError::tensor(&name, format!("type {}", piece.dtype)))
            }
            _ => Ok(piece),
        }
    }

    /// The same of floats.
    pub fn floats(&mut self, path: &str, suffix: &str) -> Result<Vec<f32>, FormatError> {
        let piece = self.take(path, suffix, Some(Dtype::F32))?;
        Ok(from_le_bytes::<f32, 4>(piece.bytes))
    }

    /// Fails with [`FormatError::Tensor`] where parts are left.
    pub fn end(&self) -> Result<(), FormatError> {
        match self.0.keys().next() {
            Some(name) => Err(FormatError::tensor(name, "not described")),
            None => Ok(()),
        }
    }

    /// Over everything that means something: names, types and shapes as well as bytes, and the version.
    pub fn checksum(&self, kind: &str) -> String {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&VERSION.to_le_bytes());
        hasher.update(kind.as_bytes());
        for (name, piece) in &self.0 {
            let head = format!("{name} {} {:?}", piece.dtype, piece.shape);
            hasher.update(head.as_bytes());
            hasher.update(piece.bytes);
        }
        format!("{:08x}", hasher.finalize())
    }
}
