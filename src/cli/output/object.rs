//! Objects for machines.

use serde_json::Value;

/// Indented JSON with a line end.
pub(crate) fn json(value: &Value) -> String {
    // A Value always serialises: its keys are strings and its numbers finite.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// YAML with a line end.
///
/// # Errors
/// When a value has no YAML form.
pub(crate) fn yaml(value: &Value) -> anyhow::Result<String> {
    let mut text = serde_saphyr::to_string(value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn yaml_reads_back_as_the_same_object() {
        let value =
            serde_json::json!({"items": [{"name": "no", "n": 1, "empty": [], "text": "a: b\nc", "x": null}]});
        let back: Value = serde_saphyr::from_str(&yaml(&value).unwrap()).unwrap();
        assert_eq!(back, value);
    }
}
