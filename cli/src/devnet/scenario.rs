//! [`Scenario`]: what happens to a devnet, read from a TOML file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::error::CliError;

/// Most steps of a scenario.
const MOST_STEPS: usize = 10_000;

/// A scenario. Nodes are numbered from 0 on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// Seconds after which the network is stopped.
    pub(super) seconds: Option<u64>,
    /// Nodes that are not there at the beginning.
    #[serde(default)]
    pub(super) absent: Vec<u64>,
    /// Nodes that give false payloads to those who synchronize from them.
    #[serde(default)]
    pub(super) liars: Vec<u64>,
    /// Steps, by time.
    #[serde(default, rename = "step")]
    pub(super) steps: Vec<Step>,
}

/// A moment, and what happens then: in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Step {
    /// Seconds since the network had its first block.
    pub(super) at: f64,
    /// Nodes that are ended where they are (SIGKILL).
    pub(super) crash: Vec<u64>,
    /// Nodes that crash, and whose disks are empty when they start again: store, state and record of votes.
    pub(super) wipe: Vec<u64>,
    /// Nodes that crash and lose their record of votes alone.
    pub(super) forget: Vec<u64>,
    /// Nodes that start, whether they were there before or not.
    pub(super) start: Vec<u64>,
    /// Nodes that start and fetch the state first.
    pub(super) join: Vec<u64>,
    /// Groups of nodes that hear nothing of each other from now on. Those that are in none hear all.
    pub(super) cut: Vec<Vec<u64>>,
    /// All hear each other again.
    pub(super) heal: bool,
    /// Nodes that take their time from now on.
    pub(super) slow: Option<Slow>,
}

/// Slowness of nodes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slow {
    pub(super) nodes: Vec<u64>,
    /// Milliseconds for each message and answer; 0 ends it.
    pub(super) ms: u64,
}

impl Step {
    pub(super) fn time(&self) -> Duration {
        Duration::try_from_secs_f64(self.at).unwrap_or_default()
    }

    fn nodes(&self) -> impl Iterator<Item = u64> {
        let slow = self.slow.iter().flat_map(|slow| &slow.nodes);
        [&self.crash, &self.wipe, &self.forget, &self.start, &self.join]
            .into_iter()
            .flatten()
            .chain(self.cut.iter().flatten())
            .chain(slow)
            .copied()
    }
}

impl Scenario {
    /// Reads a scenario for a network of so many nodes.
    pub(super) fn read(path: &Path, nodes: u64) -> Result<Self, CliError> {
        let text = fs::read_to_string(path).map_err(CliError::file("read", path))?;
        Self::parse(&text, nodes)
            .map_err(|reason| CliError::Devnet(format!("the scenario {} can't be used: {reason}", path.display())))
    }

    fn parse(text: &str, nodes: u64) -> Result<Self, String> {
        let mut scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if scenario.steps.len() > MOST_STEPS {
            return Err(format!("it has {} steps, at most {MOST_STEPS} are played", scenario.steps.len()));
        }
        if let Some(step) = scenario.steps.iter().find(|step| !(0.0..1e9).contains(&step.at)) {
            return Err(format!("a step at {} s: say seconds from 0 on", step.at));
        }
        let named = scenario.steps.iter().flat_map(Step::nodes);
        let unknown = named.chain(scenario.absent.iter().chain(&scenario.liars).copied()).find(|node| *node >= nodes);
        if let Some(node) = unknown {
            return Err(format!("it names node {node}, and the nodes are 0 to {}: see --nodes", nodes - 1));
        }
        if scenario.steps.iter().any(|step| step.nodes().next().is_none() && !step.heal) {
            return Err("a step in which nothing happens".to_owned());
        }
        scenario.steps.sort_by(|one, other| one.at.total_cmp(&other.at));
        Ok(scenario)
    }

    /// The time of the last step.
    pub(super) fn end(&self) -> Duration {
        self.steps.last().map(Step::time).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_in_the_order_of_its_times() {
        let text = "seconds = 60\nabsent = [3]\n[[step]]\nat = 5.5\nheal = true\n\n[[step]]\nat = 2\ncut = [[0], [1, 2]]\n\
                    [[step]]\nat = 9\njoin = [3]\nslow = { nodes = [0], ms = 20 }";
        let scenario = Scenario::parse(text, 4).unwrap();
        let times: Vec<_> = scenario.steps.iter().map(|step| step.at).collect();
        assert_eq!(times, [2.0, 5.5, 9.0]);
        assert_eq!((scenario.seconds, scenario.end()), (Some(60), Duration::from_secs(9)));
        assert_eq!(Scenario::parse("", 4), Ok(Scenario::default()));
    }

    #[test]
    fn what_can_not_be_played_is_named() {
        for (text, word) in [
            ("[[step]]\nat = 1\ncrash = [4]", "node 4"),
            ("[[step]]\nat = -1\nheal = true", "-1"),
            ("[[step]]\nat = nan\nheal = true", "NaN"),
            ("[[step]]\nat = 1", "nothing happens"),
            ("[[step]]\nat = 1\nburn = [1]", "burn"),
            ("liars = [9]", "node 9"),
        ] {
            let error = Scenario::parse(text, 4).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
