use super::{Report, ReportError};
use std::io::Write;
use std::path::{Path, PathBuf};

impl Report {
    /// Writes `stem.json`, `stem.csv` and, with feature `plots`, `stem.html` into a folder, which
    /// is made if need be. Gives the paths written.
    ///
    /// Each file appears whole or not at all, and nothing is written unless all could be rendered.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// # let dir = tempfile::tempdir()?;
    /// # let folder = dir.path();
    /// let paths = Report::new(rows, 0.5)?.save(folder, "report")?;
    /// assert!(paths[0].ends_with("report.json") && paths[0].exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the stem is no plain file name, a plot could not be drawn, or a file not be written.
    pub fn save(&self, folder: impl AsRef<Path>, stem: &str) -> Result<Vec<PathBuf>, ReportError> {
        let folder = folder.as_ref();
        if Path::new(stem).file_name() != Some(stem.as_ref()) || stem.contains(['/', '\\', '\0']) {
            return Err(ReportError::BadStem(stem.to_owned()));
        }
        let files = [
            Some(("json", self.to_json())),
            Some(("csv", self.to_csv()?)),
            #[cfg(feature = "plots")]
            Some(("html", self.to_html()?)),
        ];
        std::fs::create_dir_all(folder).map_err(|source| ReportError::Write {
            path: folder.to_owned(),
            source,
        })?;
        files
            .into_iter()
            .flatten()
            .map(|(extension, text)| {
                let path = folder.join(format!("{stem}.{extension}"));
                match write_whole(folder, &path, text.as_bytes()) {
                    Ok(()) => Ok(path),
                    Err(source) => Err(ReportError::Write { path, source }),
                }
            })
            .collect()
    }
}

/// Writes beside the target and renames, which replaces an older file at once.
fn write_whole(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".report-");
    #[cfg(unix)]
    {
        // Temporary files are private by default; a report is an ordinary file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
