//! The steps of `cargo xtask test`: their order, their commands, and how each is announced.
//! Quick ones come first, so that most mistakes show within seconds.

use std::time::{Duration, Instant};

use crate::tools::Component;
use crate::workspace::Workspace;
use crate::{bare_metal, c, command, fuzz, go, no_std, packages, wan, wasm};

/// One step; `ALL` is the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Format,
    Guards,
    Clippy,
    Doc,
    Test,
    C,
    Go,
    Wasm,
    Package,
    NoStd,
    BareMetal,
    Wan,
    Fuzz,
}

impl Step {
    pub(crate) const ALL: [Self; 13] = [
        Self::Format,
        Self::Guards,
        Self::Clippy,
        Self::Doc,
        Self::Test,
        Self::C,
        Self::Go,
        Self::Wasm,
        Self::Package,
        Self::NoStd,
        Self::BareMetal,
        Self::Wan,
        Self::Fuzz,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Format => "fmt",
            Self::Guards => "guards",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Test => "test",
            Self::C => "c",
            Self::Go => "go",
            Self::Wasm => "wasm",
            Self::Package => "package",
            Self::NoStd => "no-std",
            Self::BareMetal => "bare-metal",
            Self::Wan => "wan",
            Self::Fuzz => "fuzz",
        }
    }

    pub(crate) fn purpose(self) -> &'static str {
        match self {
            Self::Format => "the code is formatted as rustfmt would",
            Self::Guards => "layers, bans, manifests and rooms are as CONTRIBUTING.md says",
            Self::Clippy => "no warning from clippy, on all targets with all features",
            Self::Doc => "the documentation builds without a warning",
            Self::Test => "unit, integration and documentation tests of the workspace",
            Self::C => "the C interface, with gcc, clang, sanitizers and valgrind",
            Self::Go => "the Go module, with both engines, beside the Rust node",
            Self::Wasm => "the light client for JavaScript: its package, in Node and in Chromium against real nodes",
            Self::Package => "the packages that are published, each built from its archive",
            Self::NoStd => "the core against a sysroot that has no `std`",
            Self::BareMetal => "the core built for a Cortex-M4F, which has no operating system",
            Self::Wan => "short syncs over an emulated wide area network, where there are root and TUN devices",
            Self::Fuzz => "a minute of fuzzing for each target",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    fn run(self, workspace: &Workspace) -> Result<(), String> {
        match self {
            Self::Format => {
                Component::Rustfmt.ensure(workspace)?;
                command::run(workspace.cargo().args(["fmt", "--all", "--check"]))
                    .map_err(|reason| format!("{reason}; `cargo fmt --all` puts it right"))
            }
            Self::Guards => command::run(workspace.cargo().args(["test", "--package", "xtask"])),
            Self::Clippy => {
                Component::Clippy.ensure(workspace)?;
                command::run(workspace.cargo().args([
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--all-features",
                    "--",
                    "-D",
                    "warnings",
                ]))
            }
            Self::Doc => command::run(
                workspace
                    .cargo()
                    .args(["doc", "--workspace", "--all-features", "--no-deps"])
                    .env_remove("CARGO_ENCODED_RUSTDOCFLAGS")
                    .env("RUSTDOCFLAGS", "-D warnings"),
            ),
            // Without `--all-targets`, which would leave the documentation tests out. The tests of
            // xtask are the step `guards`, those of the C interface the step `c`.
            Self::Test => command::run(workspace.cargo().args([
                "test",
                "--workspace",
                "--exclude",
                "xtask",
                "--exclude",
                "hotstuff2-sync-c",
                "--all-features",
                "--no-fail-fast",
            ])),
            Self::Package => packages::check(workspace),
            Self::C => c::check(workspace),
            Self::Go => go::check(workspace),
            Self::Wasm => wasm::check(workspace),
            Self::Wan => wan::check(workspace),
            Self::NoStd => no_std::check(workspace),
            Self::BareMetal => bare_metal::build(workspace),
            Self::Fuzz => fuzz::run(workspace, &fuzz::Plan::EACH_FOR_A_MINUTE),
        }
    }
}

/// Runs `steps` in their order, stops at the first failure, and ends with what each took.
pub(crate) fn run_all(workspace: &Workspace, steps: &[Step]) -> Result<(), String> {
    let begin = Instant::now();
    let mut durations = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!("\n== {}/{} {}: {}", index + 1, steps.len(), step.name(), step.purpose());
        let start = Instant::now();
        let outcome = step.run(workspace);
        let took = start.elapsed();
        outcome.map_err(|reason| {
            format!(
                "step `{name}` failed after {}: {reason}\n       again, alone: cargo xtask test --only {name}",
                seconds(took),
                name = step.name(),
            )
        })?;
        println!("== {} passed in {}", step.name(), seconds(took));
        durations.push((step.name(), took));
    }
    println!("\nAll {} steps passed in {}:", steps.len(), seconds(begin.elapsed()));
    for (name, took) in durations {
        println!("  {name:<11} {:>9}", seconds(took));
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_found_by_its_name() {
        for step in Step::ALL {
            assert_eq!(Step::named(step.name()), Some(step));
        }
        assert_eq!(Step::named("nothing"), None);
    }
}
