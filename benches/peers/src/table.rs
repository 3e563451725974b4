//! One table: a row for each figure, a column for each library, Waylane's the first.

use core::fmt;
use core::time::Duration;

use waylane_sim::workload::{Pace, Path, Row, Samples, Suite};
use waylane_sim::{Bottleneck, Burst, Traffic};

use crate::peer::Library;
use crate::workloads::{bulk, burst, game};

/// Figures of all libraries side by side.
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<(Key, Vec<Option<f64>>)>,
}

/// Which workload, on which link, and what is measured.
type Key = (&'static str, String, &'static str);

/// Makes the rows of one library.
struct Column {
    library: Library,
    seeds: u64,
    rows: Vec<(Key, f64)>,
}

impl Table {
    /// The names of the workloads, in order.
    pub const WORKLOADS: [&str; 5] = ["w1", "burst", "w2", "w5", "w7"];

    /// A table of Waylane and these.
    pub fn new(libraries: &[Library]) -> Self {
        let heads = libraries.iter().map(|library| library.name);
        Self { heads: core::iter::once("waylane").chain(heads).collect(), rows: Vec::new() }
    }

    /// Adds a workload's rows.
    pub fn measure(&mut self, workload: &str, libraries: &[Library], seeds: u64) {
        let suite = Suite { seeds, pace: Pace::Events };
        for row in suite.run(workload).into_iter().flatten() {
            let Row { workload, case, figure, measured, .. } = row;
            self.put(0, (workload, case, figure), measured);
        }
        for (library, number) in libraries.iter().zip(1..) {
            eprintln!("{workload} {}", library.name);
            let mut column = Column { library: *library, seeds, rows: Vec::new() };
            column.measure(workload);
            for (key, measured) in column.rows {
                self.put(number, key, measured);
            }
        }
    }

    fn put(&mut self, column: usize, key: Key, measured: f64) {
        let place = self.rows.iter().position(|(known, _)| *known == key);
        let place = place.unwrap_or_else(|| {
            self.rows.push((key, vec![None; self.heads.len()]));
            self.rows.len() - 1
        });
        self.rows[place].1[column] = Some(measured);
    }
}

impl Column {
    fn measure(&mut self, workload: &str) {
        match workload {
            "w1" => {
                for loss in [0.0, 0.02, 0.1] {
                    self.w1(percent("loss", loss), &Path { loss, ..game_path() });
                }
            }
            "burst" => {
                let burst = Some(Burst { loss: 0.05, length: 4.0 });
                self.w1("burst loss 5 %, mean 4".into(), &Path { burst, ..game_path() });
            }
            "w2" => self.w2(),
            "w5" => self.w5(),
            "w7" => self.w7(),
            _ => {}
        }
    }

    fn w1(&mut self, case: String, path: &Path) {
        let reports = self.each(|library, seed| game(library, seed, path, W1));
        let (mut reliable, mut unreliable) = (Samples::default(), Samples::default());
        for report in &reports {
            reliable.pool(&report.reliable);
            unreliable.pool(&report.unreliable);
            if report.reliable_delivered < 1.0 {
                eprintln!("W1, {case}: {} of all delivered", report.reliable_delivered);
            }
        }
        let mut row = |figure, measured| self.rows.push((("W1", case.clone(), figure), measured));
        row("reliable p50, ms", millis(reliable.percentile(50.0)));
        row("reliable p99, ms", millis(reliable.percentile(99.0)));
        row("reliable max, ms", millis(reliable.max()));
        row("unreliable p99, ms", millis(unreliable.percentile(99.0)));
        row("overhead, B/message", median(reports.iter().map(|report| report.overhead)));
        let packets = reports.iter().map(|report| report.packets_per_second);
        row("packets/s, busier way", median(packets));
    }

    fn w2(&mut self) {
        for (after_game, loss) in
            [(None, 0.0), (None, 0.02), (None, 0.1), (Some(GAME), 0.0), (Some(GAME), 0.02)]
        {
            let reorder = if after_game.is_some() { 0.01 } else { 0.0 };
            let path = Path { loss, reorder, held: HELD, ..ten_megabits() };
            let reports = self.each(|library, seed| burst(library, seed, &path, after_game));
            let before = if after_game.is_some() { "after game, " } else { "fresh, " };
            let case = format!("{before}{}", percent("loss", loss));
            let done = || reports.iter().map(|report| report.done.map_or(f64::INFINITY, millis));
            let mut row =
                |figure, measured| self.rows.push((("W2", case.clone(), figure), measured));
            row("all done, ms", median(done()));
            row("all done, slowest, ms", done().fold(0.0, f64::max));
            let traffic = |figure: fn(&Traffic) -> Duration| {
                median(reports.iter().map(|report| millis(figure(&report.traffic))))
            };
            row("queue max, ms", traffic(|traffic| traffic.waited_max));
            row("queue mean, ms", traffic(Traffic::waited_mean));
        }
    }

    fn w5(&mut self) {
        let bottleneck = Some(Bottleneck::megabits(100, QUEUE));
        for loss in [0.0, 0.001, 0.01] {
            let path = Path { loss, bottleneck, ..Path::of(Duration::from_millis(80)) };
            let reports = self.each(|library, seed| bulk(library, seed, &path, BULK, false));
            let rates = reports.iter().map(|report| report.bits_per_second / 1e6);
            self.bulk_rows(
                "W5",
                percent("loss", loss),
                "share of the link, %",
                median(rates),
                reports.iter().map(|report| report.traffic).collect(),
            );
        }
    }

    fn w7(&mut self) {
        let reports = self.each(|library, seed| bulk(library, seed, &ten_megabits(), BULK, true));
        let mut unreliable = Samples::default();
        for report in &reports {
            unreliable.pool(&report.unreliable);
        }
        let case = "10 Mbit/s, 40 ms";
        let mut row = |figure, measured| self.rows.push((("W7", case.into(), figure), measured));
        row("unreliable p50, ms", millis(unreliable.percentile(50.0)));
        row("unreliable p99, ms", millis(unreliable.percentile(99.0)));
        row("unreliable max, ms", millis(unreliable.max()));
        let delivered = reports.iter().map(|report| report.unreliable_delivered * 100.0);
        row("unreliable delivered, %", median(delivered));
        let rates = reports.iter().map(|report| report.bits_per_second / 1e6);
        self.bulk_rows(
            "W7",
            case.into(),
            "bulk, Mbit/s",
            median(rates),
            reports.iter().map(|report| report.traffic).collect(),
        );
    }

    fn bulk_rows(
        &mut self,
        workload: &'static str,
        case: String,
        figure: &'static str,
        measured: f64,
        traffic: Vec<Traffic>,
    ) {
        let mut row =
            |figure, measured| self.rows.push(((workload, case.clone(), figure), measured));
        row(figure, measured);
        row("queue mean, ms", median(traffic.iter().map(|seen| millis(seen.waited_mean()))));
        row("queue max, ms", median(traffic.iter().map(|seen| millis(seen.waited_max))));
        row("queue overflows", median(traffic.iter().map(|seen| seen.overflowed as f64)));
    }

    fn each<T>(&self, mut run: impl FnMut(Library, u64) -> T) -> Vec<T> {
        (1..=self.seeds).map(|seed| run(self.library, seed)).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| workload | figure | {} |", self.heads.join(" | "))?;
        writeln!(f, "| --- | --- |{}", " ---: |".repeat(self.heads.len()))?;
        let mut before = None;
        for ((workload, case, figure), measured) in &self.rows {
            let link = (before != Some((workload, case))).then(|| format!("{workload} {case}"));
            before = Some((workload, case));
            write!(f, "| {} | {figure} |", link.unwrap_or_default())?;
            for cell in measured {
                match cell {
                    Some(measured) if measured.is_infinite() => write!(f, " > 60 s |")?,
                    Some(measured) if *measured >= 1000.0 => write!(f, " {measured:.0} |")?,
                    Some(measured) => write!(f, " {measured:.1} |")?,
                    None => write!(f, " – |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The median of figures of which each run has one.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn percent(what: &str, share: f64) -> String {
    format!("{what} {} %", share * 100.0)
}

fn game_path() -> Path {
    Path {
        jitter: Duration::from_millis(5),
        reorder: 0.01,
        held: HELD,
        ..Path::of(Duration::from_millis(40))
    }
}

fn ten_megabits() -> Path {
    let bottleneck = Some(Bottleneck::megabits(10, QUEUE));
    Path { bottleneck, ..Path::of(Duration::from_millis(40)) }
}

const W1: Duration = Duration::from_secs(30);
const GAME: Duration = Duration::from_secs(10);
const BULK: Duration = Duration::from_secs(20);
const HELD: Duration = Duration::from_millis(20);
const QUEUE: Duration = Duration::from_millis(100);
