//! One frame of `waylane top`, 80 columns by 24 lines, from looks at a relay's metrics.

use waylane_admin::Scrape;

use super::number::{bars, short, span, whole};

/// What was seen, the latest last, and what is wrong with seeing more.
pub(super) struct Frame<'f> {
    /// Where it is seen.
    pub(super) address: String,
    pub(super) looks: &'f [Scrape],
    pub(super) trouble: Option<&'f str>,
}

impl Frame<'_> {
    /// Its lines, none longer than 79 columns.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.title(), "─".repeat(WIDTH)];
        if let Some(trouble) = self.trouble {
            lines.push(format!("not to be reached: {trouble}; trying again"));
            lines.push(String::new());
        }
        if let Some((now, before)) = self.latest() {
            lines.push(self.holds(now));
            lines.push(String::new());
            lines.extend(self.traffic());
            lines.push(String::new());
            lines.extend(spread(now, before));
            lines.push(String::new());
            lines.extend(tables(now, before, LINES.saturating_sub(lines.len())));
        }
        lines.iter().take(LINES).map(|line| cut(line)).collect()
    }

    /// The two latest looks; the first one alone is compared with itself.
    fn latest(&self) -> Option<(&Scrape, &Scrape)> {
        let (now, others) = self.looks.split_last()?;
        Some((now, others.last().unwrap_or(now)))
    }

    fn title(&self) -> String {
        let Some((now, _)) = self.latest() else {
            return ends("Waylane relay", &self.address);
        };
        let region = now.by_label("waylane_relay_info").next().map_or("", |(region, _)| region);
        let state = match (now.get("waylane_ready") > 0.0, now.get("waylane_draining") > 0.0) {
            (true, _) => "serving",
            (false, true) => "DRAINING",
            (false, false) => "NOT SERVING",
        };
        let state = if self.trouble.is_some() { "AWAY" } else { state };
        let up = span(now.get("waylane_uptime_seconds"));
        let name = format!("Waylane relay {region}");
        ends(&format!("{}   {state}   up {up}", name.trim_end()), &self.address)
    }

    /// What it has and uses.
    fn holds(&self, now: &Scrape) -> String {
        let sessions = whole(now.get("waylane_sessions"));
        let max = whole(now.get("waylane_sessions_max"));
        let memory = short(now.get("process_resident_memory_bytes"), "B");
        // Over more than a moment: the system counts hundredths.
        let early = self.looks.iter().rev().nth(5).or(self.looks.first()).unwrap_or(now);
        let used = 100.0 * rate(now, early, "process_cpu_seconds_total");
        let workers = now.get("waylane_workers");
        format!(
            "sessions {sessions} of {max}   memory {memory}   processor {} %   workers {workers}",
            short(used, "")
        )
    }

    fn traffic(&self) -> Vec<String> {
        let row = |name: &str, packets: &str, bytes: Option<&str>| {
            let rates = self.looks.windows(2).map(|pair| match pair {
                [before, now] => rate(now, before, packets).max(0.0),
                _ => 0.0,
            });
            let skipped = rates.len().saturating_sub(HISTORY);
            let latest = rates.clone().next_back().unwrap_or(0.0);
            let bits = bytes
                .zip(self.latest())
                .map(|(bytes, (now, before))| short(8.0 * rate(now, before, bytes), "bit/s"));
            let bits = bits.unwrap_or_default();
            format!("{name:<14}{:>10}{bits:>15}  {}", short(latest, ""), bars(rates.skip(skipped)))
        };
        vec![
            format!("{:<14}{:>10}{:>15}  {}", "", "a second", "", "the last while"),
            row("in", "waylane_received_packets_total", Some("waylane_received_bytes_total")),
            row(
                "sent on",
                "waylane_forwarded_packets_total",
                Some("waylane_forwarded_bytes_total"),
            ),
            row("dropped", "waylane_dropped_packets_total", None),
            row("no room", "waylane_receive_overflow_packets_total", None),
        ]
    }
}

fn spread(now: &Scrape, before: &Scrape) -> [String; 2] {
    let within = |q| short(now.quantile(before, "waylane_residence_seconds", q), "s");
    let mean = |name: &str| {
        let grown = |part| grown(now, before, &format!("{name}_{part}"));
        short(grown("sum") / grown("count"), "")
    };
    [
        format!("in the relay    p50 {}, p99 {}", within(0.5), within(0.99)),
        format!(
            "datagrams       {} received at once, {} sent as one",
            mean("waylane_batch_packets"),
            mean("waylane_run_packets")
        ),
    ]
}

/// What was dropped and what was for the relay, side by side, as far as it happened.
fn tables(now: &Scrape, before: &Scrape, lines: usize) -> Vec<String> {
    let dropped = table("dropped", "waylane_dropped_packets_total", now, before, lines);
    let consumed = table("for the relay", "waylane_consumed_packets_total", now, before, lines);
    let height = dropped.len().max(consumed.len());
    let line = |n: usize| {
        let of = |table: &[String]| table.get(n).cloned().unwrap_or_default();
        format!("{:<COLUMN$}  {}", of(&dropped), of(&consumed)).trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

fn table(title: &str, name: &str, now: &Scrape, before: &Scrape, lines: usize) -> Vec<String> {
    let seconds = seconds(now, before);
    let mut rows: Vec<(&str, f64, f64)> = (now.by_label(name).zip(before.by_label(name)))
        .map(|((label, value), (_, old))| (label, (value - old) / seconds, value))
        .filter(|(.., value)| *value > 0.0)
        .collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.2.total_cmp(&a.2)));
    let mut table = vec![format!("{title:<16}{:>9}{:>12}", "a second", "in all")];
    let row = |(label, rate, value): &(&str, f64, f64)| {
        let label = label.replace('_', " ");
        format!("{label:<16.16}{:>9}{:>12}", short(*rate, ""), whole(*value))
    };
    table.extend(rows.iter().map(row));
    if table.len() > lines {
        table.truncate(lines.saturating_sub(1));
        table.push("and others".to_owned());
    }
    table
}

fn seconds(now: &Scrape, before: &Scrape) -> f64 {
    grown(now, before, "waylane_uptime_seconds").max(1e-3)
}

fn grown(now: &Scrape, before: &Scrape, name: &str) -> f64 {
    now.get(name) - before.get(name)
}

fn rate(now: &Scrape, before: &Scrape, name: &str) -> f64 {
    grown(now, before, name) / seconds(now, before)
}

/// At both ends of a line.
fn ends(left: &str, right: &str) -> String {
    let gap = WIDTH.saturating_sub(left.chars().count() + right.chars().count()).max(1);
    format!("{left}{}{right}", " ".repeat(gap))
}

fn cut(line: &str) -> String {
    line.chars().take(WIDTH).collect()
}

const WIDTH: usize = 79;
const LINES: usize = 23;
const COLUMN: usize = 39;
/// Bars that fit beside the numbers.
pub(super) const HISTORY: usize = 38;

#[cfg(test)]
mod tests {
    use core::fmt::Write as _;

    use super::*;

    /// A relay `second` seconds after its start, at a steady rate.
    fn look(second: u64) -> Scrape {
        let mut text = String::new();
        for (name, a_second) in [
            ("waylane_uptime_seconds", 1),
            ("waylane_received_packets_total", 1_300),
            ("waylane_received_bytes_total", 125_000),
            ("waylane_forwarded_packets_total{path=\"socket\"}", 1_000),
            ("waylane_forwarded_bytes_total{path=\"socket\"}", 100_000),
            ("waylane_dropped_packets_total{reason=\"over_budget\"}", 250),
            ("waylane_dropped_packets_total{reason=\"forged\"}", 0),
            ("waylane_dropped_packets_total{reason=\"unbound\"}", 50),
            ("waylane_consumed_packets_total{kind=\"keep_alive\"}", 3),
            ("waylane_residence_seconds_bucket{le=\"1e-06\"}", 0),
            ("waylane_residence_seconds_bucket{le=\"2e-06\"}", 100),
            ("waylane_residence_seconds_bucket{le=\"+Inf\"}", 100),
            ("waylane_batch_packets_sum", 1_300),
            ("waylane_batch_packets_count", 100),
        ] {
            writeln!(text, "{name} {}", second * a_second).unwrap();
        }
        text += "waylane_ready 1\nwaylane_draining 0\nwaylane_sessions 12\n\
                 waylane_sessions_max 65536\nwaylane_relay_info{region=\"eu-1\"} 1\n# EOF\n";
        Scrape::parse(&text).unwrap()
    }

    fn frame(looks: &[Scrape], trouble: Option<&str>) -> String {
        Frame { address: "127.0.0.1:9433".to_owned(), looks, trouble }.lines().join("\n")
    }

    #[test]
    fn a_frame_says_what_happens_a_second_and_since_the_start() {
        let looks: Vec<_> = (10..100).map(look).collect();
        let text = frame(&looks, None);
        for says in [
            "Waylane relay eu-1   serving   up 1 min 39 s",
            "sessions 12 of 65 536",
            "in                1.30 k    1.00 Mbit/s  █",
            "sent on           1.00 k     800 kbit/s  █",
            "dropped              300",
            "p50 1.50 µs, p99 1.99 µs",
            "13 received at once, - sent as one",
            "over budget           250      24 750",
            "keep alive              3         297",
        ] {
            assert!(text.contains(says), "no {says:?} in\n{text}");
        }
        assert!(!text.contains("forged"), "what never happened takes no line:\n{text}");
        assert!(text.find("over budget") < text.find("unbound"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 79), "{text}");
        assert!(text.lines().count() < 24);
    }

    #[test]
    fn the_first_look_and_none_at_all_are_shown_too() {
        let text = frame(&[look(5)], None);
        assert!(
            text.contains("sessions 12") && !text.contains("NaN") && !text.contains("inf"),
            "{text}"
        );
        let text = frame(&[], Some("refused"));
        assert!(text.contains("not to be reached: refused; trying again"), "{text}");
        let text = frame(&[look(5), look(6)], Some("refused"));
        assert!(text.contains("AWAY") && text.contains("1.30 k"), "{text}");
    }

    #[test]
    fn however_much_happens_it_fits() {
        let mut text = "waylane_ready 1\n".to_owned();
        for n in 0..60 {
            writeln!(
                text,
                "waylane_dropped_packets_total{{reason=\"reason_{n:02}_that_is_long\"}} {n}99999999"
            )
            .unwrap();
        }
        let scrape = Scrape::parse(&(text + "# EOF\n")).unwrap();
        let text = frame(&[scrape], None);
        assert!(text.lines().count() < 24 && text.contains("and others"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 79), "{text}");
    }
}
