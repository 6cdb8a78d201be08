//! Kubernetes quantities, as far as pods and nodes use them. Pure.

/// A Kubernetes quantity (`2`, `1500m`, `8Gi`) in thousandths of its unit, rounded up; none when it is not one.
pub fn parse_millis(text: &str) -> Option<u128> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > 18 || fraction.len() > 18 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let scaled = whole * scale + fraction;
    let factor: u128 = match suffix {
        "m" => return Some(scaled.div_ceil(scale)),
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => return None,
    };
    Some(scaled.checked_mul(factor)?.checked_mul(1000)?.div_ceil(scale))
}

/// Processors as a quantity.
pub fn cpu(millis: u64) -> String {
    match millis % 1000 {
        0 => (millis / 1000).to_string(),
        _ => format!("{millis}m"),
    }
}

/// Bytes as a quantity, in the largest unit that leaves nothing out.
pub fn bytes(bytes: u64) -> String {
    let units = [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
    let fits = units
        .iter()
        .find(|(shift, _)| bytes != 0 && bytes.is_multiple_of(1_u64 << shift));
    fits.map_or_else(
        || bytes.to_string(),
        |(shift, unit)| format!("{}{unit}", bytes >> shift),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_thousandths() {
        assert_eq!(parse_millis("500m"), Some(500));
        assert_eq!(parse_millis("2"), Some(2000));
        assert_eq!(parse_millis("1.5"), Some(1500));
        assert_eq!(parse_millis("48Mi"), Some((48 << 20) * 1000));
        for bad in ["", "Mi", "x", "1x", "-1", "1.2.3"] {
            assert_eq!(parse_millis(bad), None, "{bad}");
        }
    }

    #[test]
    fn quantities_are_written_as_they_are_read() {
        assert_eq!((cpu(2000), cpu(2500)), ("2".to_owned(), "2500m".to_owned()));
        assert_eq!(
            (bytes(8 << 30), bytes(1536 << 20), bytes(1000), bytes(0)),
            (
                "8Gi".to_owned(),
                "1536Mi".to_owned(),
                "1000".to_owned(),
                "0".to_owned()
            )
        );
        assert_eq!(parse_millis(&bytes(1536 << 20)), Some((1536 << 20) * 1000));
    }
}
