use super::Report;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Terminals narrower than this wrap the text around the table, never the table.
const WIDTH: usize = 120;

impl Report {
    /// The report as a table for a terminal of 120 columns, with its result above and its notes
    /// below, then the warnings of the model that was chosen. One line for each trial: the mean over the seeds.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let table = Report::new(rows, 0.5)?.table();
    /// assert!(table.contains("baseline") && table.contains("98.20"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn table(&self) -> String {
        let columns = self.columns();
        let mut table = Table::new();
        table
            .load_preset("     ──            ")
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(columns.iter().map(|column| {
                if column.unit.is_empty() {
                    column.name.to_owned()
                } else {
                    format!("{}\n{}", column.name, column.unit)
                }
            }));
        for (line, trial) in self.summaries().iter().enumerate() {
            let mark = match self.is_best(trial) {
                Some(true) => "* ",
                Some(false) => "+ ",
                None => "  ",
            };
            table.add_row(columns.iter().enumerate().map(|(at, column)| {
                let value = column.values.get(line).map_or("", String::as_str);
                let mark = if at == 0 { mark } else { "" };
                format!("{mark}{value}")
            }));
        }
        for (at, column) in columns.iter().enumerate() {
            if let Some(target) = table.column_mut(at) {
                target.set_padding((0, 1));
                if !column.text {
                    target.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        let table = table.to_string();
        let lines = table.lines().map(str::trim_end);
        let mut text = wrap(&self.headline());
        text.push('\n');
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&wrap(&format!(
            "{} * best of all, + best of its stage.",
            self.legend()
        )));
        for note in self.notes() {
            text.push_str(&wrap(note));
        }
        for line in self.told() {
            text.push_str(&wrap(&line));
        }
        text.trim_end().to_owned()
    }
}

/// Breaks text into lines of the table's width at its spaces.
fn wrap(text: &str) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > WIDTH {
            lines.push('\n');
            used = 0;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += length;
    }
    lines.push('\n');
    lines
}
