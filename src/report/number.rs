//! How numbers read on the page.

/// `1234567` -> `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `n` of `of` in percent; `None` when there is nothing to divide by.
pub fn percent(n: u64, of: u64) -> Option<String> {
    if of == 0 {
        return None;
    }
    let share = n as f64 / of as f64 * 100.0;
    Some(match share {
        // Steps of a funnel need not shrink.
        s if n > of => format!("{s:.0} %"),
        _ if n == 0 => "0 %".to_owned(),
        _ if n == of => "100 %".to_owned(),
        s if s < 0.1 => "<0.1 %".to_owned(),
        s if s > 99.9 => ">99.9 %".to_owned(),
        s if s < 9.95 => format!("{s:.1} %"),
        // 99.5 must not read as all of it.
        s => format!("{:.0} %", s.min(99.0)),
    })
}

/// A span of time with a unit that keeps three digits or so.
pub fn duration(ns: u64) -> String {
    let s = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", s / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", s / 1e6),
        1_000_000_000..120_000_000_000 => format!("{:.2} s", s / 1e9),
        _ => format!("{:.1} min", s / 60e9),
    }
}

/// A size in bytes.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{:.1} KiB", n as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", n as f64 / 1_073_741_824.0),
    }
}

pub fn address(n: u64) -> String {
    format!("{n:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_thousands_separators() {
        let read: Vec<_> = [0, 999, 1_000, 12_345, 1_234_567].map(count).into();
        assert_eq!(read, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn a_share_never_rounds_to_none_or_all() {
        assert_eq!(percent(0, 7).as_deref(), Some("0 %"));
        assert_eq!(percent(1, 100_000).as_deref(), Some("<0.1 %"));
        assert_eq!(percent(1, 16).as_deref(), Some("6.2 %"));
        assert_eq!(percent(61, 100).as_deref(), Some("61 %"));
        assert_eq!(percent(998, 1_000).as_deref(), Some("99 %"));
        assert_eq!(percent(99_999, 100_000).as_deref(), Some(">99.9 %"));
        assert_eq!(percent(7, 7).as_deref(), Some("100 %"));
        assert_eq!(percent(5, 4).as_deref(), Some("125 %"));
        assert_eq!(percent(0, 0), None);
    }
}
