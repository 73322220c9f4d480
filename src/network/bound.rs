//! A bound of a clamp in a file: JSON has no infinite numbers, so those are words. Finite ones are
//! written as f64: an untagged number is read as one, and would be rounded twice.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bound {
    Finite(f64),
    Infinite(Word),
}

#[derive(Serialize, Deserialize)]
enum Word {
    #[serde(rename = "-inf")]
    Low,
    #[serde(rename = "inf")]
    High,
}

pub(super) fn serialize<S: Serializer>(bound: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    let bound = match *bound {
        f32::NEG_INFINITY => Bound::Infinite(Word::Low),
        f32::INFINITY => Bound::Infinite(Word::High),
        finite => Bound::Finite(f64::from(finite)),
    };
    bound.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    Ok(match Bound::deserialize(deserializer)? {
        Bound::Finite(bound) => bound as f32,
        Bound::Infinite(Word::Low) => f32::NEG_INFINITY,
        Bound::Infinite(Word::High) => f32::INFINITY,
    })
}

#[cfg(test)]
mod tests {
    use crate::network::Unary;

    #[test]
    fn a_clamp_comes_back_from_json() {
        for (min, max) in [
            (0.0, 6.0),
            (f32::NEG_INFINITY, 0.1),
            (-16777217e-7, f32::INFINITY),
            (f32::MIN_POSITIVE, f32::MAX),
        ] {
            let clamp = Unary::Clamp { min, max };
            let text = serde_json::to_string(&clamp).unwrap();
            assert_eq!(
                serde_json::from_str::<Unary>(&text).unwrap(),
                clamp,
                "{text}"
            );
        }
    }
}
