//! Numbers for people.

/// Three digits and a prefix: `1.23 M`. What is no number is a dash.
pub(super) fn short(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let steps = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ")];
    // There are milliseconds, but no thousandths of a datagram.
    let smallest = if unit == "s" { 1e-6 } else { 1.0 };
    let fits = |(size, _): &&(f64, &str)| *size <= smallest || value.abs() >= size * 0.9995;
    let (size, prefix) = *steps.iter().find(fits).unwrap_or(&(1.0, ""));
    let (size, prefix) = if value == 0.0 { (1.0, "") } else { (size, prefix) };
    let scaled = value / size;
    let digits = match scaled.abs() {
        0.0 => 0,
        whole if size == 1.0 && whole.fract() == 0.0 => 0,
        large if large >= 99.95 => 0,
        large if large >= 9.995 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$} {prefix}{unit}").trim_end().to_owned()
}

/// All digits, in groups of three.
pub(super) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A time in its two largest units.
pub(super) fn span(seconds: f64) -> String {
    let s = seconds as u64;
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

/// Bars as high as the values, the highest of them full.
pub(super) fn bars(values: impl Iterator<Item = f64> + Clone) -> String {
    let max = values.clone().fold(0.0, f64::max);
    let bar = |value: f64| {
        let part = if max > 0.0 { value / max } else { 0.0 };
        // Something is never shown as nothing.
        let eighths = (part * 8.0).ceil().clamp(0.0, 8.0) as usize;
        BARS.get(eighths).copied().unwrap_or(' ')
    };
    values.map(bar).collect()
}

const BARS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_prefix() {
        for (value, unit, text) in [
            (0.0, "", "0"),
            (0.0, "s", "0 s"),
            (7.0, "", "7"),
            (0.25, "", "0.25"),
            (999.6, "", "1.00 k"),
            (12_345.0, "", "12.3 k"),
            (123_456_789.0, "bit/s", "123 Mbit/s"),
            (0.000_023, "s", "23.0 µs"),
            (0.004, "s", "4.00 ms"),
            (f64::NAN, "s", "-"),
        ] {
            assert_eq!(short(value, unit), text, "{value}");
        }
        assert_eq!((whole(1_234_567.0), whole(12.0)), ("1 234 567".into(), "12".into()));
        assert_eq!((span(59.9), span(3_700.0)), ("59 s".into(), "1 h 1 min".into()));
        assert_eq!(bars([0.0, 0.1, 4.0, 8.0].into_iter()), "·▁▄█");
        assert_eq!(bars([0.0, 0.0].into_iter()), "··");
    }
}
