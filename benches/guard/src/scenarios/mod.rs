//! What is counted. Every operation checks its outcome, so that nothing is counted that did not happen.

mod codec;
mod connection;
mod json;
mod pair;
mod rest;
mod samples;
mod session;

/// One hot path.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What `per` counts, for the table.
    pub(crate) unit: &'static str,
    /// How many of them one operation does.
    pub(crate) per: u32,
    /// How many operations are counted.
    pub(crate) times: u32,
    /// Makes the operation, with all that so many of them use up.
    pub(crate) prepare: fn(u32) -> Operation,
}

pub(crate) type Operation = Box<dyn FnMut()>;

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = codec::all();
    all.extend(json::all());
    all.extend(session::all());
    all.extend(connection::all());
    all.extend(rest::all());
    all
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn each_scenario_runs_and_has_a_name_of_its_own() {
        let mut names = Vec::new();
        for scenario in all() {
            let mut operation = (scenario.prepare)(3);
            (0..3).for_each(|_| operation());
            assert!(!names.contains(&scenario.name), "{} twice", scenario.name);
            assert!(scenario.times > 0 && scenario.per > 0);
            names.push(scenario.name);
        }
    }
}
