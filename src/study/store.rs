use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;

use super::{StudyError, Trial};
use crate::compress::{Compression, State};
use crate::format::{Archive, Container, FormatError, Part, write_atomically};
use crate::network::Network;
use crate::recipe::Recipe;
use crate::report::{Row, Sensitivity};
use crate::train::TrainError;

/// Finished trials: in memory, and in a folder if one is given.
pub(super) struct Store {
    folder: Option<PathBuf>,
    rows: HashMap<String, Row>,
    // Of a study without a folder.
    archives: HashMap<String, Archive>,
    integers: HashMap<String, Vec<u8>>,
}

const STATE: &str = "trial";
const INTEGERS: &str = "integers.bcm";
const SENSITIVITY: &str = "sensitivity.json";

impl Store {
    /// Opens the folder; fails where it holds a study of another recipe.
    pub fn open(folder: Option<PathBuf>, recipe: &Recipe) -> Result<Self, StudyError> {
        let mut rows = HashMap::new();
        if let Some(folder) = &folder {
            let path = folder.join("recipe.json");
            match path.exists() {
                true if Recipe::load(&path)? != *recipe => {
                    return Err(StudyError::AnotherStudy {
                        folder: folder.clone(),
                        what: "the recipe",
                    });
                }
                true => {}
                false => recipe.save(&path)?,
            }
            for path in files(&folder.join("trials"))? {
                if path
                    .extension()
                    .is_some_and(|extension| extension == "json")
                {
                    let row: Row = serde_json::from_slice(&read(&path)?).map_err(|error| {
                        FormatError::corrupt(format!("{}: {error}", path.display()))
                    })?;
                    rows.insert(Trial::of(&row).key(), row);
                }
            }
        }
        Ok(Self {
            folder,
            rows,
            archives: HashMap::new(),
            integers: HashMap::new(),
        })
    }

    pub fn row(&self, trial: &Trial) -> Option<&Row> {
        self.rows.get(&trial.key())
    }

    /// Keeps a finished trial. The row is written last: where it is, the model is.
    pub fn keep(
        &mut self,
        row: Row,
        archive: Archive,
        integers: Option<Vec<u8>>,
    ) -> Result<(), StudyError> {
        let key = Trial::of(&row).key();
        match &self.folder {
            Some(_) => {
                archive.save(self.path(&key, "bcm"))?;
                if let Some(integers) = &integers {
                    write_atomically(&self.path(&key, INTEGERS), integers)?;
                }
                let text = serde_json::to_vec_pretty(&row)
                    .map_err(|error| FormatError::corrupt(error.to_string()))?;
                write_atomically(&self.path(&key, "json"), &text)?;
            }
            None => {
                self.archives.insert(key.clone(), archive);
                if let Some(integers) = integers {
                    self.integers.insert(key.clone(), integers);
                }
            }
        }
        self.rows.insert(key, row);
        Ok(())
    }

    pub fn archive(&self, trial: &Trial) -> Result<Archive, StudyError> {
        let key = trial.key();
        match self.archives.get(&key) {
            Some(archive) => Ok(archive.clone()),
            None => Ok(Archive::load(self.path(&key, "bcm"))?),
        }
    }

    /// Keeps what training needs to go on after a trial, until the next one is finished.
    pub fn keep_state<M: Module>(
        &self,
        trial: &Trial,
        module: &M,
        compression: &Compression,
    ) -> Result<(), StudyError> {
        if self.folder.is_none() {
            return Ok(());
        }
        // Not of a clone: the last batch's share of running statistics would be missing.
        let record = module.valid().into_record().into_bytes().map_err(unfit)?;
        let state = serde_json::to_string(compression.state()).map_err(unfit)?;
        let part = Part::bytes("module", record.to_vec());
        Container::new(STATE, state, vec![part]).save(self.path(&trial.key(), "state"))?;
        Ok(())
    }

    /// What [`keep_state`](Self::keep_state) kept, if it is there.
    pub fn state(&self, trial: &Trial) -> Result<Option<(ModuleRecord, State)>, StudyError> {
        let path = self.path(&trial.key(), "state");
        if self.folder.is_none() || !path.exists() {
            return Ok(None);
        }
        let content = Container::load(STATE, path)?;
        let state = serde_json::from_str(content.description()).map_err(unfit)?;
        let mut parts = content.into_parts();
        let part = parts.remove("module");
        let bytes = part.map(|part| part.bytes).unwrap_or_default();
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes)).map_err(unfit)?;
        Ok(Some((record, state)))
    }

    pub fn drop_state(&self, trial: &Trial) {
        if self.folder.is_some() {
            // A file left over costs space, nothing else.
            let _ = std::fs::remove_file(self.path(&trial.key(), "state"));
        }
    }

    /// What was measured of single layers so far.
    pub fn sensitivity(&self) -> Result<Vec<Sensitivity>, StudyError> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(SENSITIVITY)) else {
            return Ok(Vec::new());
        };
        if !path.exists() {
            return Ok(Vec::new());
        }
        let found = serde_json::from_slice(&read(&path)?);
        Ok(found.map_err(|error| FormatError::corrupt(format!("{}: {error}", path.display())))?)
    }

    pub fn keep_sensitivity(&self, layers: &[Sensitivity]) -> Result<(), StudyError> {
        if let Some(folder) = &self.folder {
            let text = serde_json::to_vec_pretty(layers)
                .map_err(|error| FormatError::corrupt(error.to_string()))?;
            write_atomically(&folder.join(SENSITIVITY), &text)?;
        }
        Ok(())
    }

    /// The integer form of a finished trial; none of one whose activations are floats.
    pub fn integers(&self, trial: &Trial) -> Result<Option<Network>, StudyError> {
        if trial.activation_bits == 32 {
            return Ok(None);
        }
        let key = trial.key();
        Ok(Some(match self.integers.get(&key) {
            Some(bytes) => Network::from_bytes(bytes)?,
            None => Network::load(self.path(&key, INTEGERS))?,
        }))
    }

    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    fn path(&self, key: &str, extension: &str) -> PathBuf {
        let folder = self.folder.clone().unwrap_or_default();
        folder.join("trials").join(format!("{key}.{extension}"))
    }
}

pub(super) fn unfit(error: impl std::fmt::Display) -> TrainError {
    TrainError::Record {
        reason: error.to_string(),
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let io = |source| FormatError::Io {
        path: folder.to_path_buf(),
        source,
    };
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).map_err(io)?;
    entries.map(|entry| Ok(entry.map_err(io)?.path())).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, FormatError> {
    std::fs::read(path).map_err(|source| FormatError::Io {
        path: path.to_path_buf(),
        source,
    })
}
