mod row;
pub use row::{LayerRow, Mode, Row, Stage};
