//! Sizes for people.

/// Such as `21.3 MB`: powers of ten, as disks have it.
pub fn bytes(bytes: u64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let size = bytes as f64;
    match units.into_iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", size / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_the_unit_that_fits() {
        let sizes = [0, 999, 1_000, 21_300_000, 4_096_000_000, 7_500_000_000_000].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "21.3 MB", "4.1 GB", "7.5 TB"]);
    }
}
