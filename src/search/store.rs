//! What a search keeps: measurements and models, in memory, and in a folder if one is given.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{LayerChoice, Measurements, SearchError, SearchedModel};
use crate::format::{Archive, FormatError, write_atomically};
use crate::network::Network;

/// What a folder's measurements and models are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Setup {
    pub of: String,
    pub machine: String,
}

pub(super) struct Store {
    folder: Option<PathBuf>,
    // Of a search without a folder.
    networks: HashMap<String, Vec<u8>>,
    archives: HashMap<String, Archive>,
}

const SETUP: &str = "search.json";
const MEASUREMENTS: &str = "measurements.json";

impl Store {
    /// Fails where the folder holds another search.
    pub fn open(folder: Option<PathBuf>, setup: &Setup) -> Result<Self, SearchError> {
        if let Some(folder) = &folder {
            let path = folder.join(SETUP);
            match load::<Setup>(&path)? {
                None => write(&path, setup)?,
                Some(found) if found == *setup => {}
                Some(found) => {
                    return Err(SearchError::AnotherSearch {
                        folder: folder.clone(),
                        what: match found.of == setup.of {
                            true => "the machine, its threads, or the samples of a call",
                            false => "the model, the inputs, or an option",
                        },
                    });
                }
            }
        }
        Ok(Self {
            folder,
            networks: HashMap::new(),
            archives: HashMap::new(),
        })
    }

    pub fn measurements(&self) -> Result<Option<Measurements>, SearchError> {
        match &self.folder {
            Some(folder) => Ok(load(&folder.join(MEASUREMENTS))?),
            None => Ok(None),
        }
    }

    pub fn keep_measurements(&self, found: &Measurements) -> Result<(), FormatError> {
        match &self.folder {
            Some(folder) => write(&folder.join(MEASUREMENTS), found),
            None => Ok(()),
        }
    }

    /// A model of these choices that was run before.
    pub fn model(&self, choices: &[LayerChoice]) -> Result<Option<SearchedModel>, SearchError> {
        if self.folder.is_none() {
            return Ok(None);
        }
        let found: Option<SearchedModel> = load(&self.path(choices, "json"))?;
        Ok(found.filter(|found| found.choices == choices))
    }

    /// The row is written last: where it is, the model is.
    pub fn keep(
        &mut self,
        model: &SearchedModel,
        network: Vec<u8>,
        archive: Archive,
    ) -> Result<(), SearchError> {
        let choices = &model.choices;
        match &self.folder {
            Some(_) => {
                write_atomically(&self.path(choices, "bcm"), &network)?;
                archive.save(self.path(choices, "weights.bcm"))?;
                self.keep_row(model)?;
            }
            None => {
                self.networks.insert(key(choices), network);
                self.archives.insert(key(choices), archive);
            }
        }
        Ok(())
    }

    pub fn keep_row(&self, model: &SearchedModel) -> Result<(), SearchError> {
        match &self.folder {
            Some(_) => Ok(write(&self.path(&model.choices, "json"), model)?),
            None => Ok(()),
        }
    }

    pub fn network(&self, choices: &[LayerChoice]) -> Result<Network, SearchError> {
        Ok(match self.networks.get(&key(choices)) {
            Some(bytes) => Network::from_bytes(bytes)?,
            None => Network::load(self.path(choices, "bcm"))?,
        })
    }

    pub fn archive(&self, choices: &[LayerChoice]) -> Result<Archive, SearchError> {
        Ok(match self.archives.get(&key(choices)) {
            Some(archive) => archive.clone(),
            None => Archive::load(self.path(choices, "weights.bcm"))?,
        })
    }

    fn path(&self, choices: &[LayerChoice], extension: &str) -> PathBuf {
        let folder = self.folder.clone().unwrap_or_default();
        folder
            .join("models")
            .join(format!("{}.{extension}", key(choices)))
    }
}

// A name for choices.
fn key(choices: &[LayerChoice]) -> String {
    let mut hash = crc32fast::Hasher::new();
    for LayerChoice { layer, candidate } in choices {
        hash.update(layer.as_bytes());
        hash.update(&candidate.level.to_le_bytes());
        hash.update(&candidate.bits.to_le_bytes());
        hash.update(candidate.pattern.to_string().as_bytes());
    }
    format!("{:08x}", hash.finalize())
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FormatError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(|source| FormatError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let found = serde_json::from_slice(&bytes);
    let found =
        found.map_err(|error| FormatError::corrupt(format!("{}: {error}", path.display())))?;
    Ok(Some(found))
}

fn write(path: &Path, what: &impl Serialize) -> Result<(), FormatError> {
    let text = serde_json::to_vec_pretty(what);
    let text = text.map_err(|error| FormatError::corrupt(error.to_string()))?;
    write_atomically(path, &text)
}
