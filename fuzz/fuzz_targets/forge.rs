//! Bytes as a file with a right checksum.

use burn_compress::format::{Container, Part};
use safetensors::tensor::Dtype;

/// Lines up to an empty one are the description and the parts' names; what follows is shared evenly
/// between the parts.
pub fn file(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let description = lines.next().unwrap_or_default().to_string();
    let names: Vec<&str> = lines.collect();
    let rest = rest.get(2..).unwrap_or_default();
    let length = rest.len().div_ceil(names.len().max(1)).max(1);
    let mut chunks = rest.chunks(length);
    let parts = names.into_iter().map(|name| {
        let mut part = Part::bytes(name, chunks.next().unwrap_or_default().to_vec());
        let (dtype, size) = match name.rsplit('.').next() {
            Some("scale" | "values") => (Dtype::F32, 4),
            Some("zero_point") => (Dtype::U16, 2),
            _ => (Dtype::U8, 1),
        };
        part.bytes.truncate(part.bytes.len() / size * size);
        (part.dtype, part.shape) = (dtype, vec![part.bytes.len() / size]);
        part
    });
    let container = Container::new(kind, description, parts.collect());
    container.to_bytes().unwrap_or_default()
}
