//! `docs/limits.md` says what the code does.

use std::path::PathBuf;

fn read(path: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A figure, in bytes, milliseconds, or whatever else it counts.
type Figure = u64;

/// The figure that a cell begins with, such as `128 KB` or `1,000, by default 100`.
fn stated(cell: &str) -> Option<Figure> {
    let mut words = cell.split(' ');
    let number = words.next()?.trim_end_matches(',').replace(',', "");
    let unit = match words.next().unwrap_or_default() {
        "KB" => 1024,
        "MiB" => 1024 * 1024,
        "s" => 1000,
        "h" => 60 * 60 * 1000,
        "day" | "days" => 24 * 60 * 60 * 1000,
        _ => 1,
    };
    Some(number.parse::<u64>().ok()? * unit)
}

/// The figure that a constant's value is, such as `6 * 1024 * 1024` or `TimeDelta::seconds(10)`.
fn computed(value: &str) -> Option<Figure> {
    let (unit, value) = match value.split_once('(') {
        None => (1, value),
        Some((kind, rest)) => {
            let unit = match kind.rsplit(':').next()? {
                "milliseconds" | "from_millis" => 1,
                "seconds" | "from_secs" => 1000,
                "hours" => 60 * 60 * 1000,
                "days" => 24 * 60 * 60 * 1000,
                _ => return None,
            };
            (unit, rest.strip_suffix(')')?)
        }
    };
    let factors = value.split(" * ").map(|factor| factor.replace('_', ""));
    let factors = factors.map(|factor| factor.parse().ok());
    factors
        .collect::<Option<Vec<Figure>>>()
        .map(|all| unit * all.iter().product::<u64>())
}

/// The value of a constant, as it is written.
fn value_of<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    let declared = format!("const {name}: ");
    let line = source.lines().find(|line| line.contains(&declared))?;
    line.split_once(" = ")?.1.strip_suffix(';')
}

#[test]
fn every_figure_with_a_constant_behind_it_is_that_constant_s() {
    let mut compared = 0;
    for row in read("docs/limits.md").lines() {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [what, limit, source] = cells.as_slice() else {
            continue;
        };
        // `NAME` in `file`
        let named = source
            .strip_prefix('`')
            .and_then(|rest| rest.split_once("` in `"));
        let Some((name, rest)) = named else { continue };
        let file = rest.split('`').next().unwrap();
        if file == "template.yaml" {
            continue;
        }
        let folder = if file.starts_with("local/") {
            ""
        } else {
            "shared/src/"
        };
        let code = read(&format!("{folder}{file}"));
        let value = value_of(&code, name).unwrap_or_else(|| panic!("no `{name}` in {file}"));
        let computed = computed(value).unwrap_or_else(|| panic!("{name} is {value}"));
        assert_eq!(stated(limit), Some(computed), "{what}: {name}");
        compared += 1;
    }
    assert!(compared > 40, "only {compared} rows name a constant");
}
