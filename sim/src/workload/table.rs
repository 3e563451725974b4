//! Every workload with what is promised for it.

use core::fmt;
use core::time::Duration;

use super::bulk::{BulkReport, Rival, bulk, bulk_beside_game, bulk_beside_rival};
use super::burst::burst;
use super::game::{GameReport, game};
use super::open::{Introduction, open};
use super::path::{Pace, Path};
use super::samples::{Samples, median};
use crate::link::{Bottleneck, Burst};

/// One figure of one workload.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which workload.
    pub workload: &'static str,
    /// On which link.
    pub case: String,
    /// What is measured, with its unit.
    pub figure: &'static str,
    /// The figure.
    pub measured: f64,
    /// What is promised; `None`: only reported.
    pub target: Option<Target>,
}

/// What a figure must be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Between these.
    Within(f64, f64),
}

/// Which seeds, and how often the players' programs have their turn.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// How many seeds, from 1 on.
    pub seeds: u64,
    /// How often the programs have their turn.
    pub pace: Pace,
}

impl Suite {
    /// The names of the workloads, in the order of the table.
    pub const WORKLOADS: [&str; 7] = ["w1", "burst", "w2", "w5", "w6", "w7", "rivals"];

    /// The figures of a workload; `None` if there is none of this name.
    #[must_use]
    pub fn run(&self, workload: &str) -> Option<Vec<Row>> {
        Some(match workload {
            "w1" => self.w1(),
            "burst" => self.w1_burst(),
            "w2" => self.w2(),
            "w5" => self.w5(),
            "w6" => self.w6(),
            "w7" => self.w7(),
            "rivals" => self.rivals(),
            _ => return None,
        })
    }

    fn w1(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (loss, redundancy, p99, overhead) in [
            (0.0, None, None, Some(34.0)),
            (0.0, Some(0), None, Some(30.0)),
            (0.02, None, Some(45.0), Some(34.0)),
            (0.1, None, Some(60.0), Some(37.0)),
        ] {
            let path = Path { loss, ..game_path() };
            let reports = self.each(|seed| game(seed, &path, redundancy, W1, self.pace));
            let never = if redundancy == Some(0) { ", no repeats" } else { "" };
            let case = format!("{}{never}", percent("loss", loss));
            rows.extend(self.game_rows("W1", &case, &reports, p99, overhead, 62.0));
        }
        rows
    }

    fn w1_burst(&self) -> Vec<Row> {
        let burst = Some(Burst { loss: 0.05, length: 4.0 });
        let reports =
            self.each(|seed| game(seed, &Path { burst, ..game_path() }, None, W1, self.pace));
        // A silence of several frames has the relay asked whether it is there: 0.4 packets a second.
        self.game_rows("W1", "burst loss 5 %, mean 4", &reports, Some(120.0), None, 62.0)
    }

    fn game_rows(
        &self,
        workload: &'static str,
        case: &str,
        reports: &[GameReport],
        p99: Option<f64>,
        overhead: Option<f64>,
        packets_per_second: f64,
    ) -> Vec<Row> {
        let row = |figure, measured, target| self.row(workload, case, figure, measured, target);
        let mut rows = Vec::new();
        let (mut reliable, mut unreliable) = (Samples::default(), Samples::default());
        for report in reports {
            assert!(report.trouble.is_empty(), "{workload}, {case}: {:?}", report.trouble);
            assert!(report.reliable_delivered >= 1.0, "{workload}, {case}: something is missing");
            reliable.pool(&report.reliable);
            unreliable.pool(&report.unreliable);
        }
        rows.push(row("reliable p50, ms", millis(reliable.percentile(50.0)), None));
        rows.push(row(
            "reliable p99, ms",
            millis(reliable.percentile(99.0)),
            p99.map(Target::AtMost),
        ));
        rows.push(row("reliable max, ms", millis(reliable.max()), None));
        rows.push(row("unreliable p99, ms", millis(unreliable.percentile(99.0)), None));
        let each = |figure: fn(&GameReport) -> f64| median(reports.iter().map(figure).collect());
        rows.push(row(
            "overhead, B/message",
            each(|report| report.overhead),
            overhead.map(Target::AtMost),
        ));
        rows.push(row(
            "packets/s, busier way",
            each(|report| report.packets_per_second[0].max(report.packets_per_second[1])),
            Some(Target::AtMost(packets_per_second)),
        ));
        rows
    }

    fn w2(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (after_game, loss, done) in [
            (None, 0.0, 465.0),
            (None, 0.02, 490.0),
            (None, 0.1, 560.0),
            (Some(Duration::from_secs(10)), 0.0, 465.0),
            (Some(Duration::from_secs(10)), 0.02, 495.0),
        ] {
            let reorder = if after_game.is_some() { 0.01 } else { 0.0 };
            let path = Path { loss, reorder, held: HELD, ..ten_megabits() };
            let reports = self.each(|seed| burst(seed, &path, after_game, self.pace));
            let before = if after_game.is_some() { "after game, " } else { "fresh, " };
            let case = format!("{before}{}", percent("loss", loss));
            for report in &reports {
                assert!(report.trouble.is_empty(), "W2, {case}: {:?}", report.trouble);
            }
            let done_in = reports.iter().map(|report| report.done.map_or(f64::INFINITY, millis));
            let row = |figure, measured, target| self.row("W2", &case, figure, measured, target);
            let worst = done_in.clone().fold(0.0, f64::max);
            rows.push(row("all done, ms", median(done_in.collect()), Some(Target::AtMost(done))));
            rows.push(row("all done, slowest, ms", worst, None));
            let queue_max = median(reports.iter().map(|report| millis(report.queue_max)).collect());
            rows.push(row("queue max, ms", queue_max, Some(Target::AtMost(50.0))));
            let mean = median(reports.iter().map(|report| millis(report.queue_mean)).collect());
            rows.push(row("queue mean, ms", mean, None));
        }
        rows
    }

    fn w5(&self) -> Vec<Row> {
        let bottleneck = Some(Bottleneck::megabits(100, QUEUE));
        let mut rows = Vec::new();
        for (loss, share) in [(0.0, Some(94.0)), (0.001, None), (0.01, Some(91.0))] {
            let path = Path { loss, bottleneck, ..Path::of(Duration::from_millis(80)) };
            let reports = self.each(|seed| bulk(seed, &path, Duration::from_secs(20), self.pace));
            let case = percent("loss", loss);
            let (bulk, queue) = (share.map(Target::AtLeast), Some(Target::AtMost(20.0)));
            rows.extend(self.bulk_rows("W5", &case, &reports, bulk, queue));
        }
        rows
    }

    fn w6(&self) -> Vec<Row> {
        let path = Path::of(Duration::from_millis(40));
        let mut rows = Vec::new();
        for (introduction, case, promised) in [
            (Introduction::Invite, "one calls, one answers", true),
            (Introduction::Both, "both call at once", false),
        ] {
            let reports = self.each(|seed| open(seed, &path, introduction));
            let row = |figure, measured, most: f64| {
                let target = promised.then_some(Target::AtMost(most));
                self.row("W6", case, figure, median(measured), target)
            };
            let all = || reports.iter();
            rows.push(row("bytes", all().map(|report| report.bytes as f64).collect(), 500.0));
            // A microsecond here and there is not a part of a round trip.
            rows.push(row(
                "round trips, caller's",
                all().map(|report| report.there).collect(),
                1.51,
            ));
            rows.push(row("round trips, other's", all().map(|report| report.back).collect(), 1.01));
            let bind = median(all().map(|report| report.bind_bytes as f64).collect());
            rows.push(self.row("W6", case, "relay bind, bytes, apart", bind, None));
        }
        rows
    }

    fn w7(&self) -> Vec<Row> {
        let duration = Duration::from_secs(20);
        let reports =
            self.each(|seed| bulk_beside_game(seed, &ten_megabits(), duration, self.pace));
        let mut unreliable = Samples::default();
        for report in &reports {
            unreliable.pool(&report.unreliable);
        }
        let (p50, p99, rate) = match self.pace {
            Pace::Events => (27.0, 38.0, 9.2),
            Pace::Frames => (45.0, 60.0, 8.5),
        };
        let case = "10 Mbit/s, 40 ms";
        let row = |figure, measured, target| Row {
            workload: "W7",
            case: case.into(),
            figure,
            measured,
            target,
        };
        let rates = reports.iter().map(|report| report.share * 10.0).collect();
        let delivered = reports.iter().map(|report| report.unreliable_delivered * 100.0).collect();
        let mut rows = vec![
            row(
                "unreliable p50, ms",
                millis(unreliable.percentile(50.0)),
                Some(Target::AtMost(p50)),
            ),
            row(
                "unreliable p99, ms",
                millis(unreliable.percentile(99.0)),
                Some(Target::AtMost(p99)),
            ),
            row("unreliable max, ms", millis(unreliable.max()), None),
            row("unreliable delivered, %", median(delivered), None),
            row("bulk, Mbit/s", median(rates), Some(Target::AtLeast(rate))),
        ];
        rows.extend(self.bulk_rows("W7", case, &reports, None, None).into_iter().skip(1));
        rows
    }

    fn rivals(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (rival, case, target) in [
            (Rival::CubicLater, "CUBIC comes later", Target::AtLeast(15.0)),
            (Rival::CubicBefore, "CUBIC was there", Target::AtLeast(15.0)),
            (Rival::Waylane, "two Waylane flows", Target::Within(40.0, 60.0)),
        ] {
            let duration = Duration::from_secs(60);
            let reports = self
                .each(|seed| bulk_beside_rival(seed, &ten_megabits(), rival, duration, self.pace));
            let rival = median(reports.iter().map(|report| report.rival_share * 100.0).collect());
            rows.extend(self.bulk_rows("rivals", case, &reports, Some(target), None));
            rows.push(self.row("rivals", case, "other's share of the link, %", rival, None));
        }
        rows
    }

    fn bulk_rows(
        &self,
        workload: &'static str,
        case: &str,
        reports: &[BulkReport],
        share: Option<Target>,
        queue: Option<Target>,
    ) -> Vec<Row> {
        for report in reports {
            assert!(report.trouble.is_empty(), "{workload}, {case}: {:?}", report.trouble);
        }
        let each = |figure: fn(&BulkReport) -> f64| median(reports.iter().map(figure).collect());
        let row = |figure, measured, target| self.row(workload, case, figure, measured, target);
        vec![
            row("share of the link, %", each(|report| report.share * 100.0), share),
            row("queue mean, ms", each(|report| millis(report.queue_mean)), queue),
            row("queue max, ms", each(|report| millis(report.queue_max)), None),
            row("queue overflows", each(|report| report.overflowed as f64), None),
        ]
    }

    /// A row whose target holds for programs that have their turn at every event.
    fn row(
        &self,
        workload: &'static str,
        case: &str,
        figure: &'static str,
        measured: f64,
        target: Option<Target>,
    ) -> Row {
        let target = target.filter(|_| self.pace == Pace::Events);
        Row { workload, case: case.into(), figure, measured, target }
    }

    fn each<T>(&self, mut run: impl FnMut(u64) -> T) -> Vec<T> {
        (1..=self.seeds).map(&mut run).collect()
    }
}

impl Row {
    /// Whether it is as promised; `None` if nothing is.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        Some(match self.target? {
            Target::AtMost(most) => self.measured <= most,
            Target::AtLeast(least) => self.measured >= least,
            Target::Within(least, most) => (least..=most).contains(&self.measured),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, case, figure, measured, .. } = self;
        write!(f, "{workload:<7} {case:<24} {figure:<30} {measured:>9.2}")?;
        let (Some(target), Some(holds)) = (self.target, self.holds()) else { return Ok(()) };
        let verdict = if holds { "ok" } else { "miss" };
        write!(f, "  {:<12} {verdict}", target.to_string())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::Within(least, most) => write!(f, "{least} – {most}"),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn percent(what: &str, share: f64) -> String {
    format!("{what} {} %", share * 100.0)
}

/// W1's path without loss.
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
const HELD: Duration = Duration::from_millis(20);
const QUEUE: Duration = Duration::from_millis(100);
