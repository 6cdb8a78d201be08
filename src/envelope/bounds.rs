//! How deep a message nests and how many values it has, before anything of it is built.

use crate::limits;

/// Looks at the brackets, commas and quotes alone; what is no JSON is found later.
pub(super) fn check(text: &[u8]) -> Result<(), String> {
    count(text, 0, 0)
}

/// As [`check`], of a body that will stand in an envelope.
pub(super) fn check_inside(body: &[u8]) -> Result<(), String> {
    count(body, 1, 64)
}

fn count(text: &[u8], mut depth: usize, mut values: usize) -> Result<(), String> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at + 1),
            b'{' | b'[' => {
                depth += 1;
                values += 1;
                if depth > limits::JSON_DEPTH {
                    return Err(format!("it nests deeper than {} levels", limits::JSON_DEPTH));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if values > limits::JSON_VALUES {
            return Err(format!("it has more than {} values", limits::JSON_VALUES));
        }
        at += 1;
    }
    Ok(())
}

/// Where the quote is that ends the string.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_do_not_count_and_deep_ones_do() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(32).as_bytes()), Ok(()));
        assert!(check(nested(33).as_bytes()).is_err());
        let quoted = format!(r#"{{"a\"[": "{}\\"}}"#, "[".repeat(100));
        assert_eq!(check(quoted.as_bytes()), Ok(()));
        assert_eq!(check(br#""never ends\"#), Ok(()));
    }

    #[test]
    fn a_message_of_many_empty_objects_is_refused() {
        let many = format!("[{}]", vec!["{}"; 200_000].join(","));
        assert!(check(many.as_bytes()).is_err_and(|text| text.contains("values")));
    }
}
