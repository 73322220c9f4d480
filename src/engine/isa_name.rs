//! How an instruction set is written: by its name. The kernels are built without serde, whose features
//! differ between sets of features and would build them again for each.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernel::Isa;

/// An instruction set as its name.
#[derive(Clone, Copy)]
struct Name(Isa);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match Isa::ALL.into_iter().find(|isa| isa.name() == name) {
            Some(isa) => Ok(Self(isa)),
            None => {
                let known = Isa::ALL.map(Isa::name).join(", ");
                Err(D::Error::custom(format!(
                    "unknown instruction set `{name}`: it is one of {known}"
                )))
            }
        }
    }
}

pub(super) fn serialize<S: Serializer>(isa: &Isa, serializer: S) -> Result<S::Ok, S::Error> {
    Name(*isa).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Isa, D::Error> {
    Name::deserialize(deserializer).map(|name| name.0)
}

pub(super) mod option {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        isa: &Option<Isa>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        isa.map(Name).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Isa>, D::Error> {
        Option::<Name>::deserialize(deserializer).map(|name| name.map(|name| name.0))
    }
}
