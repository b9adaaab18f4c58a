//! Logs: what the library says while a command runs, as lines with time stamps on standard error.

use std::sync::OnceLock;

use clap::{ArgAction, Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::screen::{self, Lines, Words};

/// The variable of the environment that chooses levels by module.
const VARIABLE: &str = "RUST_LOG";

/// The levels that `-v` and `-q` move along.
const LEVELS: [LevelFilter; 5] =
    [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE];

/// The options of this process, for those that it starts.
static OPTIONS: OnceLock<Vec<String>> = OnceLock::new();

/// How much is said while a command runs, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogArgs {
    /// Log more: -v what happens, -vv why, -vvv everything. Without it RUST_LOG is followed, as in
    /// `hotstuff2_sync_tokio=debug`, else warnings are logged
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet", help_heading = "Logs")]
    verbose: u8,
    /// Say errors and results, and nothing else
    #[arg(short, long, global = true, help_heading = "Logs")]
    quiet: bool,
    /// Log all that is said while it runs, as records with time stamps in this form, without bars
    #[arg(long, global = true, value_enum, value_name = "FORMAT", help_heading = "Logs")]
    log_format: Option<LogFormat>,
}

/// The form of log records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object on each line
    Json,
}

impl LogArgs {
    /// The level for all modules, if the command line says one.
    fn level(&self) -> Option<LevelFilter> {
        if self.quiet {
            return Some(LevelFilter::ERROR);
        }
        let base = self.default_level();
        let place = LEVELS.iter().position(|&level| level == base).unwrap_or_default() + usize::from(self.verbose);
        (self.verbose > 0).then(|| LEVELS.get(place).copied().unwrap_or(LevelFilter::TRACE))
    }

    /// Records hold the words of the command too, which are of the level "info".
    fn default_level(&self) -> LevelFilter {
        if self.log_format.is_some() { LevelFilter::INFO } else { LevelFilter::WARN }
    }

    /// Targets that are logged, and the fault in `variable`, if that is followed and can't be.
    fn filter(&self, variable: Option<&str>) -> (Targets, Option<String>) {
        let default = Targets::new().with_default(self.level().unwrap_or_else(|| self.default_level()));
        let Some(directives) = variable.filter(|text| self.level().is_none() && !text.is_empty()) else {
            return (default, None);
        };
        match directives.parse() {
            Ok(targets) => (targets, None),
            Err(error) => (default, Some(format!("{VARIABLE} is not followed: {error}; write MODULE=LEVEL,..."))),
        }
    }

    fn options(&self) -> Vec<String> {
        let mut options = vec!["--verbose".to_owned(); usize::from(self.verbose)];
        if self.quiet {
            options.push("--quiet".to_owned());
        }
        if let Some(format) = self.log_format.and_then(|format| format.to_possible_value()) {
            options.push(format!("--log-format={}", format.get_name()));
        }
        options
    }
}

/// Logs from now on, as the command line and the environment say.
pub(crate) fn begin(args: &LogArgs) {
    let variable = std::env::var(VARIABLE).ok();
    let (filter, wrong) = args.filter(variable.as_deref());
    // With "try", so that a second call, of a test, does nothing.
    let _ = OPTIONS.set(args.options());
    let _ = match args.log_format {
        Some(LogFormat::Json) => {
            let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(|| Lines);
            tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()
        }
        Some(LogFormat::Text) | None => {
            let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Lines);
            tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()
        }
    };
    screen::set_words(match args.log_format {
        Some(_) => Words::Logged,
        None if args.quiet => Words::None,
        None => Words::Plain,
    });
    if let Some(wrong) = wrong {
        screen::tell(wrong);
    }
}

/// Options by which a process that this one starts logs the same.
pub(crate) fn options() -> &'static [String] {
    OPTIONS.get().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use tracing::Level;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        logs: LogArgs,
    }

    fn logs(options: &[&str]) -> LogArgs {
        Line::parse_from([&["hs2-sync"], options].concat()).logs
    }

    #[test]
    fn the_command_line_comes_before_the_environment() {
        let wanted = |options: &[&str], variable: Option<&str>, level: Level| {
            let (filter, wrong) = logs(options).filter(variable);
            assert_eq!(wrong, None);
            filter.would_enable("hotstuff2_sync_tokio::net", &level)
        };
        assert!(wanted(&[], None, Level::WARN) && !wanted(&[], None, Level::INFO));
        assert!(wanted(&["-v"], None, Level::INFO) && !wanted(&["-v"], None, Level::DEBUG));
        assert!(wanted(&["-vv"], Some("error"), Level::DEBUG));
        assert!(wanted(&["-vvvvv"], None, Level::TRACE));
        assert!(wanted(&["-q"], Some("trace"), Level::ERROR) && !wanted(&["-q"], Some("trace"), Level::WARN));
        assert!(wanted(&["--log-format", "json"], None, Level::INFO));
        assert!(wanted(&[], Some("error,hotstuff2_sync_tokio=trace"), Level::TRACE));
        assert!(!wanted(&[], Some("error,hotstuff2_sync_tokio::store=trace"), Level::WARN));
    }

    #[test]
    fn a_variable_that_says_nothing_is_named() {
        let (filter, wrong) = logs(&[]).filter(Some("hotstuff2_sync=loud"));
        assert!(wrong.unwrap().contains("RUST_LOG"));
        assert!(filter.would_enable("hotstuff2_sync", &Level::WARN));
    }

    #[test]
    fn a_process_that_is_started_logs_the_same() {
        for options in [&[][..], &["-q"], &["-v", "-v"], &["--log-format", "json", "-v"]] {
            let passed = logs(options).options();
            let passed: Vec<&str> = passed.iter().map(String::as_str).collect();
            assert_eq!(logs(&passed).filter(None).0, logs(options).filter(None).0);
            assert_eq!(logs(&passed).log_format, logs(options).log_format);
        }
    }
}
