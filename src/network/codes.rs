use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Whole numbers in as few bytes each as hold them all. Equal where their numbers are; copies share
/// them.
///
/// ```
/// use burn_compress::network::Codes;
/// let codes = Codes::from(vec![1, 0, -7]);
/// assert!(matches!(&codes, Codes::I8(codes) if **codes == [1, 0, -7]));
/// assert!(matches!(Codes::from(vec![1, 0, 255]), Codes::I16(_)));
/// assert!(matches!(Codes::from(vec![1, 0, 65_535]), Codes::I32(_)));
/// assert_eq!(codes, Codes::I32(vec![1, 0, -7].into()));
/// assert_eq!((codes.len(), codes.is_empty()), (3, false));
/// assert_eq!(*codes.widened(), [1, 0, -7]);
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<i32>", into = "Vec<i32>")]
pub enum Codes {
    /// A byte each.
    I8(Arc<Vec<i8>>),
    /// Two bytes each.
    I16(Arc<Vec<i16>>),
    /// Four bytes each.
    I32(Arc<Vec<i32>>),
}

impl Codes {
    /// How many they are.
    pub fn len(&self) -> usize {
        match self {
            Self::I8(codes) => codes.len(),
            Self::I16(codes) => codes.len(),
            Self::I32(codes) => codes.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All with four bytes each.
    pub fn widened(&self) -> Cow<'_, [i32]> {
        match self {
            Self::I8(codes) => codes.iter().copied().map(i32::from).collect(),
            Self::I16(codes) => codes.iter().copied().map(i32::from).collect(),
            Self::I32(codes) => codes.as_slice().into(),
        }
    }
}

impl Default for Codes {
    fn default() -> Self {
        Self::I8(Arc::default())
    }
}

impl PartialEq for Codes {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::I8(codes), Self::I8(others)) => codes == others,
            (Self::I16(codes), Self::I16(others)) => codes == others,
            _ => self.widened() == other.widened(),
        }
    }
}

impl Eq for Codes {}

impl From<Vec<i32>> for Codes {
    fn from(codes: Vec<i32>) -> Self {
        let low = codes.iter().min().copied().unwrap_or(0);
        let high = codes.iter().max().copied().unwrap_or(0);
        let within = |least: i32, most: i32| least <= low && high <= most;
        if within(i8::MIN.into(), i8::MAX.into()) {
            Self::I8(Arc::new(codes.into_iter().map(|code| code as i8).collect()))
        } else if within(i16::MIN.into(), i16::MAX.into()) {
            Self::I16(Arc::new(
                codes.into_iter().map(|code| code as i16).collect(),
            ))
        } else {
            Self::I32(Arc::new(codes))
        }
    }
}

impl FromIterator<i32> for Codes {
    fn from_iter<I: IntoIterator<Item = i32>>(codes: I) -> Self {
        codes.into_iter().collect::<Vec<i32>>().into()
    }
}

impl From<Codes> for Vec<i32> {
    fn from(codes: Codes) -> Self {
        codes.widened().into_owned()
    }
}
