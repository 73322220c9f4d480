//! CIFAR-10 in its official binary layout: records of a label and 3,072 pixel bytes.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::thread;

use burn::tensor::{Device, Int, Tensor, TensorData};
use lzma_rust2::XzReader;
use rand::Rng;

use crate::support::Dataset;

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const IMAGE: usize = 3 * PLANE;
const RECORD: usize = 1 + IMAGE;
/// Images in each of the six files.
const BATCH: usize = 10_000;
const PADDING: usize = 4;
const TRAIN_FILES: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];
const TEST_FILE: &str = "test_batch.bin";

/// Mean and deviation of ImageNet, with which the pretrained networks were trained.
pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
pub const STD: [f32; 3] = [0.229, 0.224, 0.225];

#[derive(Debug, thiserror::Error)]
pub enum CifarError {
    #[error("the data folder {0} does not exist")]
    NoFolder(PathBuf),
    #[error(
        "neither {0} nor {0}.xz exists; CIFAR-10's binary version has both training and test batches in one folder"
    )]
    NoFile(PathBuf),
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{path} holds {bytes} bytes, expected {} ({BATCH} records of {RECORD})",
        BATCH * RECORD
    )]
    WrongSize { path: PathBuf, bytes: u64 },
    #[error("{path}: record {record} has the label {label}, expected 0 to 9")]
    BadLabel {
        path: PathBuf,
        record: usize,
        label: u8,
    },
}

/// Images and labels as bytes; batches are normalised when they are built.
pub struct Cifar {
    images: Vec<u8>,
    labels: Vec<u8>,
    /// What each byte becomes, per channel.
    levels: [[f32; 256]; 3],
}

impl Cifar {
    /// Reads the training and the test set, each cut to its first `limit` images.
    ///
    /// Takes `.bin` files, or `.bin.xz` where those are missing. Files beyond a limit are not read.
    pub fn load(
        dir: &Path,
        train_limit: Option<usize>,
        test_limit: Option<usize>,
    ) -> Result<(Self, Self), CifarError> {
        if !dir.is_dir() {
            return Err(CifarError::NoFolder(dir.to_owned()));
        }
        let train_limit = train_limit.unwrap_or(usize::MAX);
        let test_limit = test_limit.unwrap_or(usize::MAX);
        let wanted: Vec<(PathBuf, usize)> = TRAIN_FILES
            .iter()
            .enumerate()
            .map(|(i, name)| (*name, train_limit.saturating_sub(i * BATCH).min(BATCH)))
            .chain([(TEST_FILE, test_limit.min(BATCH))])
            .map(|(name, records)| (dir.join(name), records))
            .collect();
        let mut files = thread::scope(|scope| {
            let readers: Vec<_> = wanted
                .iter()
                .map(|(path, records)| scope.spawn(|| read_records(path, *records)))
                .collect();
            readers
                .into_iter()
                .map(|reader| reader.join().expect("a reader does not panic"))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let test = Self::from_records(&[files.pop().expect("the test batch comes last")]);
        Ok((Self::from_records(&files), test))
    }

    fn from_records(files: &[Vec<u8>]) -> Self {
        let count = files.iter().map(Vec::len).sum::<usize>() / RECORD;
        let mut images = Vec::with_capacity(count * IMAGE);
        let mut labels = Vec::with_capacity(count);
        for record in files.iter().flat_map(|file| file.chunks_exact(RECORD)) {
            labels.push(record[0]);
            images.extend_from_slice(&record[1..]);
        }
        Self {
            images,
            labels,
            levels: levels(MEAN, STD),
        }
    }

    /// Normalises with another mean and deviation (of pixels scaled to 0..1).
    pub fn normalised(mut self, mean: [f32; 3], std: [f32; 3]) -> Self {
        self.levels = levels(mean, std);
        self
    }

    /// As [`Dataset::batch`], each image flipped by chance and cropped from a black border of 4.
    pub fn batch_augmented(
        &self,
        indices: &[usize],
        rng: &mut impl Rng,
        device: &Device,
    ) -> (Tensor<4>, Tensor<1, Int>) {
        let mut pixels = Vec::with_capacity(indices.len() * IMAGE);
        for &index in indices {
            let flip = rng.random::<bool>();
            let top = rng.random_range(0..=2 * PADDING);
            let left = rng.random_range(0..=2 * PADDING);
            // Columns of the padded image that the crop takes from the image itself.
            let before = PADDING.saturating_sub(left);
            let from = left.saturating_sub(PADDING);
            let width = SIDE - left.abs_diff(PADDING);
            for (plane, levels) in self.planes(index).zip(&self.levels) {
                let black = levels[0];
                for y in top..top + SIDE {
                    let start = pixels.len();
                    pixels.resize(start + SIDE, black);
                    if !(PADDING..PADDING + SIDE).contains(&y) {
                        continue;
                    }
                    let row = &plane[(y - PADDING) * SIDE..][..SIDE];
                    let out = &mut pixels[start + before..][..width];
                    let look_up = |(to, &byte): (&mut f32, &u8)| *to = levels[usize::from(byte)];
                    if flip {
                        let row = row.iter().rev().skip(from);
                        out.iter_mut().zip(row).for_each(look_up);
                    } else {
                        out.iter_mut().zip(&row[from..]).for_each(look_up);
                    }
                }
            }
        }
        self.tensors(pixels, indices, device)
    }

    fn planes(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        self.images[index * IMAGE..][..IMAGE].chunks_exact(PLANE)
    }

    fn tensors(
        &self,
        pixels: Vec<f32>,
        indices: &[usize],
        device: &Device,
    ) -> (Tensor<4>, Tensor<1, Int>) {
        let n = indices.len();
        let labels: Vec<i64> = indices.iter().map(|&i| i64::from(self.labels[i])).collect();
        (
            Tensor::from_data(TensorData::new(pixels, [n, 3, SIDE, SIDE]), device),
            Tensor::from_data(TensorData::new(labels, [n]), device),
        )
    }
}

impl Dataset for Cifar {
    fn len(&self) -> usize {
        self.labels.len()
    }

    /// Images `[n, 3, 32, 32]` and labels `[n]`, as they are.
    fn batch(&self, indices: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let mut pixels = Vec::with_capacity(indices.len() * IMAGE);
        for &index in indices {
            for (plane, levels) in self.planes(index).zip(&self.levels) {
                pixels.extend(plane.iter().map(|&byte| levels[usize::from(byte)]));
            }
        }
        self.tensors(pixels, indices, device)
    }
}

fn levels(mean: [f32; 3], std: [f32; 3]) -> [[f32; 256]; 3] {
    std::array::from_fn(|c| std::array::from_fn(|b| (b as f32 / 255.0 - mean[c]) / std[c]))
}

/// The first `records` records of `path`, or of `path.xz`.
fn read_records(path: &Path, records: usize) -> Result<Vec<u8>, CifarError> {
    if records == 0 {
        return Ok(Vec::new());
    }
    let packed = PathBuf::from(format!("{}.xz", path.display()));
    let (path, is_packed) = match (path.is_file(), packed.is_file()) {
        (true, _) => (path, false),
        (false, true) => (packed.as_path(), true),
        (false, false) => return Err(CifarError::NoFile(path.to_owned())),
    };
    let failed = |source| CifarError::Read {
        path: path.to_owned(),
        source,
    };
    let wrong_size = |bytes| CifarError::WrongSize {
        path: path.to_owned(),
        bytes,
    };
    let full = BATCH * RECORD;
    let file = File::open(path).map_err(failed)?;
    if !is_packed {
        let bytes = fs::metadata(path).map_err(failed)?.len();
        if bytes != full as u64 {
            return Err(wrong_size(bytes));
        }
    }
    // To the end of a whole file: one too long is found, and the checksum verified.
    let limit = match records {
        BATCH => u64::MAX,
        _ => (records * RECORD) as u64,
    };
    let mut content = Vec::with_capacity(records * RECORD);
    let source: Box<dyn Read> = match is_packed {
        true => Box::new(XzReader::new(BufReader::new(file), true)),
        false => Box::new(file),
    };
    (source.take(limit).read_to_end(&mut content)).map_err(failed)?;
    if content.len() != records * RECORD {
        return Err(wrong_size(content.len() as u64));
    }
    let label = |record: usize| content[record * RECORD];
    match (0..records).find(|&record| label(record) > 9) {
        Some(record) => Err(CifarError::BadLabel {
            path: path.to_owned(),
            record,
            label: label(record),
        }),
        None => Ok(content),
    }
}
