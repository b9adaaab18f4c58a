//! The rules that keep the core deterministic and free of panics stay switched on: the attributes at its root, the
//! bans of its `clippy.toml`, and no `std` outside of tests, not even behind a feature.

use std::path::Path;

use super::tokens::{Kind, Token, tokens};
use super::tree;

const LIB: &str = "core/src/lib.rs";

/// Attributes of the core's root, as they are written there.
const ATTRIBUTES: [&str; 2] = ["#![no_std]", "#![forbid(unsafe_code)]"];

/// The lints that the core must deny outside of its tests.
const DENIED: [&str; 6] =
    ["unwrap_used", "expect_used", "indexing_slicing", "arithmetic_side_effects", "panic", "float_arithmetic"];

/// Types that the core's `clippy.toml` must ban.
const BANNED: [&str; 4] =
    ["std::time::Instant", "std::time::SystemTime", "std::collections::HashMap", "std::collections::HashSet"];

/// Attributes that the root of the core lacks.
fn missing_attributes(source: &str) -> Vec<String> {
    let squeezed = squeeze(source);
    let mut complaints: Vec<String> = ATTRIBUTES
        .iter()
        .filter(|attribute| !squeezed.contains(&squeeze(attribute)))
        .map(|attribute| format!("{LIB} lacks `{attribute}`"))
        .collect();
    let start = "#![cfg_attr(not(test),deny(";
    let denied = squeezed.find(start).and_then(|at| squeezed[at + start.len()..].split(')').next()).unwrap_or_default();
    let denied: Vec<&str> = denied.split(',').collect();
    complaints.extend(
        DENIED
            .iter()
            .filter(|lint| !denied.contains(&format!("clippy::{lint}").as_str()))
            .map(|lint| format!("{LIB} does not deny `clippy::{lint}` in `#![cfg_attr(not(test), deny(…))]`")),
    );
    complaints
}

/// The code without white space and comments.
fn squeeze(source: &str) -> String {
    let mut text = String::new();
    for token in tokens(source) {
        match token.kind {
            Kind::Word(word) => text.push_str(&word),
            Kind::Mark(mark) => text.push(mark),
            Kind::PathSeparator => text.push_str("::"),
            Kind::Text(_) | Kind::Other => {}
        }
    }
    text
}

/// The lines on which `std` is used.
fn uses_of_std(tokens: &[Token]) -> Vec<usize> {
    let mut lines = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1);
        let is_path = next.is_some_and(|next| next.kind == Kind::PathSeparator);
        let before = index.checked_sub(1).and_then(|index| tokens.get(index));
        let starts = before.is_none_or(|before| before.kind != Kind::PathSeparator);
        let is_import = before.is_some_and(|before| before.is_word("crate"));
        if token.is_word("std") && ((is_path && starts) || is_import) {
            lines.push(token.line);
        }
        // `::std::…`
        if token.is_word("std") && is_path && !starts {
            let leads = index.checked_sub(2).and_then(|index| tokens.get(index));
            if leads.is_none_or(|token| token.word().is_none()) {
                lines.push(token.line);
            }
        }
    }
    lines
}

#[test]
fn the_core_denies_what_it_promises_to_deny() {
    let source = super::read(&super::root().join(LIB));
    super::assert_none(&missing_attributes(&source));
}

#[test]
fn the_core_uses_no_std() {
    let mut complaints = Vec::new();
    for file in tree::files(&super::root(), Path::new(LIB)) {
        for line in uses_of_std(&file.tokens) {
            complaints
                .push(format!("{}:{line}: the core has no `std`: take it from `core` or `alloc`", file.path.display()));
        }
    }
    super::assert_none(&complaints);
}

#[test]
fn the_core_bans_clocks_and_hash_maps() {
    let text = super::read(&super::root().join("core/clippy.toml"));
    let complaints: Vec<String> = BANNED
        .iter()
        .filter(|name| !text.contains(&format!("\"{name}\"")))
        .map(|name| format!("core/clippy.toml does not ban `{name}`"))
        .collect();
    super::assert_none(&complaints);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lint_taken_out_of_the_root_is_found() {
        let whole = "#![no_std] #![forbid(unsafe_code)] #![cfg_attr(not(test), deny(
            clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing,
            clippy::arithmetic_side_effects, clippy::panic, clippy::float_arithmetic))]";
        assert_eq!(missing_attributes(whole), Vec::<String>::new());
        for lint in DENIED {
            let without = whole.replace(&format!("clippy::{lint}"), "clippy::all");
            assert_eq!(missing_attributes(&without).len(), 1, "{lint}");
            let commented = whole.replace(&format!("clippy::{lint},"), &format!("// {lint}\n"));
            assert!(commented == whole || missing_attributes(&commented).len() == 1, "{lint}");
        }
        assert_eq!(missing_attributes("").len(), ATTRIBUTES.len() + DENIED.len());
    }

    #[test]
    fn std_is_found_in_code_only() {
        let source = "use std::vec::Vec;\nextern crate std;\nlet x = ::std::mem::take(y);\n\
                      // std::fs\nfeature = \"std\"; other::std::x; std;";
        assert_eq!(uses_of_std(&tokens(source)), [1, 2, 3]);
    }
}
