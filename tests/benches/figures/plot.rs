//! A line plot as SVG, on two logarithmic scales: over these, what is linear is a straight line of slope one.

use std::fmt::Write as _;

use super::{figure, root, writes};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Told apart by people who don't see red and green apart, too (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00",
];

/// What is shown.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) across: &'static str,
    pub(crate) up: &'static str,
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// Writes it to `docs/plots/NAME.svg`, if files are to be written.
    pub(crate) fn write(&self, name: &str) {
        if writes() {
            let folder = root().join("docs/plots");
            std::fs::create_dir_all(&folder).expect("docs/plots");
            std::fs::write(folder.join(format!("{name}.svg")), self.svg()).expect("a plot");
        }
    }

    fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|(_, points)| points.iter());
        let across = Scale::over(points().map(|p| p.0), LEFT, WIDTH - RIGHT);
        let up = Scale::over(points().map(|p| p.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
            self.title
        );
        for (value, x) in across.ticks() {
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {TOP}V{}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 17.0,
                tick(value)
            );
        }
        for (value, y) in up.ticks() {
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                tick(value)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 12.0,
            self.across,
            f64::midpoint(TOP, HEIGHT - BOTTOM),
            self.up
        );
        for (i, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let at = |p: &(f64, f64)| (across.place(p.0), up.place(p.1));
            let path: Vec<String> = points
                .iter()
                .map(at)
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            for (x, y) in points.iter().map(at) {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
                );
            }
            let y = TOP + 14.0 + 18.0 * i as f64;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{name}</text>",
                WIDTH - RIGHT + 10.0
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn tick(value: f64) -> String {
    match value {
        v if v >= 1.0 => figure(v)
            .trim_end_matches(".00")
            .trim_end_matches(".0")
            .to_owned(),
        v => format!("{v}"),
    }
}

/// Whole powers of ten, from below the least to above the greatest.
struct Scale {
    least: i32,
    greatest: i32,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logs: Vec<f64> = values.filter(|v| *v > 0.0).map(f64::log10).collect();
        let least = logs.iter().copied().fold(f64::INFINITY, f64::min).floor();
        let greatest = logs
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
            .ceil();
        Self {
            least: least as i32,
            greatest: (greatest as i32).max(least as i32 + 1),
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.least)) / f64::from(self.greatest - self.least);
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        (self.least..=self.greatest).map(|power| {
            let value = 10_f64.powi(power);
            (value, self.place(value))
        })
    }
}
