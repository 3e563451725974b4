//! Metrics as whoever watches a relay reads them.

use std::collections::BTreeMap;

/// One look at a relay's metrics.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// The samples in an OpenMetrics text; `None` if it does not end as one does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let samples = text.strip_suffix("# EOF\n")?;
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Some(Self(
            samples.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect(),
        ))
    }

    /// The sample of this name, or the sum of those that have labels besides; 0 if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> f64 {
        let labelled: f64 = self.by_label(name).map(|(_, value)| value).sum();
        self.0.get(name).copied().unwrap_or(0.0) + labelled
    }

    /// The samples of this name that have a label, by its value. Of more labels, the last counts.
    pub fn by_label<'s>(&'s self, name: &str) -> impl Iterator<Item = (&'s str, f64)> + use<'s> {
        let start = format!("{name}{{");
        let from = start.clone();
        (self.0.range(from..))
            .take_while(move |(sample, _)| sample.starts_with(&start))
            .filter_map(|(sample, value)| Some((sample.rsplit('"').nth(1)?, *value)))
    }

    /// Below what value a part `q` of what histogram `name` counted since `before` was, taken as
    /// even within each bucket; not a number if nothing was counted.
    #[must_use]
    pub fn quantile(&self, before: &Self, name: &str, q: f64) -> f64 {
        let name = format!("{name}_bucket");
        let old: BTreeMap<&str, f64> = before.by_label(&name).collect();
        let since = |(end, sum): (&str, f64)| {
            let old = old.get(end).copied().unwrap_or(0.0);
            Some((end.parse::<f64>().ok()?, sum - old))
        };
        let mut sums: Vec<(f64, f64)> = self.by_label(&name).filter_map(since).collect();
        sums.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = sums.last().map_or(0.0, |(_, sum)| *sum);
        if all <= 0.0 {
            return f64::NAN;
        }
        let (mut start, mut below) = (0.0, 0.0);
        for (end, sum) in sums {
            if q * all <= sum {
                let part = if sum > below { (q * all - below) / (sum - below) } else { 0.0 };
                return if end.is_finite() { start + (end - start) * part } else { start };
            }
            (start, below) = (end, sum);
        }
        start
    }

    /// The names of all samples, with their labels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_label() {
        let text =
            "# TYPE a counter\na_total{x=\"p\"} 1\na_total{x=\"q\"} 2.5\n# TYPE b gauge\nb 7\n";
        assert_eq!(Scrape::parse(text), None, "cut off");
        let scrape = Scrape::parse(&format!("{text}# EOF\n")).unwrap();
        assert_eq!((scrape.get("a_total"), scrape.get("b"), scrape.get("c")), (3.5, 7.0, 0.0));
        let labels: Vec<_> = scrape.by_label("a_total").collect();
        assert_eq!(labels, [("p", 1.0), ("q", 2.5)]);
        assert_eq!(scrape.names().count(), 3);
    }

    #[test]
    fn quantiles_are_of_what_was_counted_between() {
        let look = |counts: [u32; 4]| {
            let ends = ["1.0", "2.0", "16.0", "+Inf"];
            let line = |(end, n)| format!("h_bucket{{le=\"{end}\"}} {n}\n");
            let text: String = ends.into_iter().zip(counts).map(line).collect();
            Scrape::parse(&(text + "# EOF\n")).unwrap()
        };
        let (before, now) = (look([90, 90, 90, 90]), look([90, 140, 180, 190]));
        assert_eq!(now.quantile(&before, "h", 0.5), 2.0);
        assert_eq!(now.quantile(&before, "h", 0.25), 1.5);
        assert_eq!(now.quantile(&before, "h", 0.7), 9.0);
        assert_eq!(now.quantile(&before, "h", 0.99), 16.0, "there is no end to go towards");
        assert!(now.quantile(&now, "h", 0.5).is_nan());
    }
}
