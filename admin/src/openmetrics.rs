//! Writes the OpenMetrics text format, version 1.0.0
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), and Prometheus's own that was before
//! it (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use core::fmt::{Display, Write as _};

use waylane_relay::Histogram;

/// In which format metrics are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
    /// Prometheus's text format, version 0.0.4: the same samples. It knows no units, and takes what
    /// is information for gauges.
    Prometheus,
}

/// A text of metrics as it grows.
pub(crate) struct Text {
    format: Format,
    text: String,
}

/// What a family of metrics is called and is. Its unit is the last word of its name where that is
/// one.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
}

/// Shorthand for the tables of them.
pub(crate) const fn family(name: &'static str, help: &'static str) -> Family {
    Family { name, help }
}

impl Text {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// A counter without labels.
    pub(crate) fn counter(&mut self, family: Family, value: impl Display) {
        self.begin(family, "counter");
        self.line(format_args!("{}_total {value}", family.name));
    }

    /// A counter for each value of `label`.
    pub(crate) fn counters<'v>(
        &mut self,
        family: Family,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) {
        self.begin(family, "counter");
        for (value, count) in values {
            self.line(format_args!("{}_total{{{label}=\"{value}\"}} {count}", family.name));
        }
    }

    /// A gauge.
    pub(crate) fn gauge(&mut self, family: Family, value: impl Display) {
        self.begin(family, "gauge");
        self.line(format_args!("{} {value}", family.name));
    }

    /// What does not change, as labels. Values are escaped: an operator may have written them.
    pub(crate) fn info(&mut self, family: Family, labels: &[(&str, &str)]) {
        self.begin(family, "info");
        let labels: Vec<_> = (labels.iter())
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        self.line(format_args!("{}_info{{{}}} 1", family.name, labels.join(",")));
    }

    /// A histogram whose buckets end at powers of two, each times `scale`.
    pub(crate) fn histogram<const N: usize>(
        &mut self,
        family: Family,
        values: &Histogram<N>,
        scale: f64,
    ) {
        let name = family.name;
        self.begin(family, "histogram");
        let mut sum = 0;
        for (power, count) in values.buckets.iter().enumerate() {
            sum += count;
            if power + 1 < N {
                let end = (1u64 << power) as f64 * scale;
                self.line(format_args!("{name}_bucket{{le=\"{end:?}\"}} {sum}"));
            } else {
                self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {sum}"));
            }
        }
        self.line(format_args!("{name}_sum {:?}", values.sum as f64 * scale));
        self.line(format_args!("{name}_count {sum}"));
    }

    /// The whole text.
    pub(crate) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn begin(&mut self, Family { name, help }: Family, kind: &str) {
        if self.format == Format::Prometheus {
            // There a family is called as its samples are.
            let (end, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            self.line(format_args!("# HELP {name}{end} {help}"));
            self.line(format_args!("# TYPE {name}{end} {kind}"));
            return;
        }
        self.line(format_args!("# TYPE {name} {kind}"));
        let unit = name.rsplit('_').next().filter(|word| UNITS.contains(word));
        if let Some(unit) = unit {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {help}"));
    }

    fn line(&mut self, line: core::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

const UNITS: [&str; 3] = ["bytes", "packets", "seconds"];
