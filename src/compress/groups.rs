//! The groups of transposed convolutions. Burn's visitors show parameters alone, and the weight,
//! `[in, out / groups, kernel…]`, does not tell how many there are.

use std::fmt::Debug;

/// The field `groups` of the structure that holds a parameter, as its `Debug` prints it; none where it
/// prints no such field after the parameter.
pub(super) fn printed(module: &impl Debug, parameter: impl std::fmt::Display) -> Option<usize> {
    let text = format!("{module:?}");
    // What Burn prints of a parameter.
    let (_, after) = text.split_once(&format!("Param: {parameter} "))?;
    field(after, "groups: ")
}

// A number among the fields that follow in the same structure.
fn field(text: &str, name: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quoted = false;
    let mut escaped = false;
    for (place, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' if depth == 0 => return None,
            '}' | ']' | ')' => depth -= 1,
            ' ' if depth == 0 => {
                let value = text[place + 1..].strip_prefix(name);
                let digits = value.map(|value| value.split(|c: char| !c.is_ascii_digit()).next());
                if let Some(digits) = digits.flatten() {
                    return digits.parse().ok();
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_of_the_same_structure_is_found() {
        let of = |text| field(text, "groups: ");
        assert_eq!(
            of("- Mapper { load: 1 }, bias: None, groups: 12, x: 3 }"),
            Some(12)
        );
        assert_eq!(of("- Mapper { groups: 5 }, groups: 2 }"), Some(2));
        assert_eq!(
            of("- Mapper { load: 1 } }, other: Conv { groups: 5 }"),
            None
        );
        assert_eq!(
            of("- Mapper, name: \"} groups: 7 \\\" \", groups: 4 }"),
            Some(4)
        );
        assert_eq!(of("- Mapper, groups: Some(3) }"), None);
        assert_eq!(of("- Mapper, subgroups: 3 }"), None);
        assert_eq!(of(""), None);
    }
}
