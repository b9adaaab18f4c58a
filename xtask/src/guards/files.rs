//! Source files stay short, and tests run: a file that has grown past a bound holds two things, and a test that nobody
//! runs proves nothing. Measurements are benches.

use std::path::{Path, PathBuf};

use super::tokens::{Kind, Token, tokens};

/// Most lines of a source file. At 400 it wants to become two.
const MOST_LINES: usize = 500;

/// The one reason to ignore a test: another test starts it, as a process.
const CHILD: &str = "runs as a process of the test below";

fn too_long(path: &Path, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MOST_LINES).then(|| {
        format!("{}: {lines} lines are more than {MOST_LINES}: let each of its concepts have a file", path.display())
    })
}

/// Lines with an `ignore` among the attributes, but for [`CHILD`].
fn ignored(tokens: &[Token]) -> Vec<usize> {
    let begins = |tokens: &&[Token]| matches!(tokens, [mark, open, ..] if mark.is('#') && open.is('['));
    let attributes = (0..tokens.len()).filter_map(|at| tokens.get(at..)).filter(begins);
    attributes.filter_map(|tokens| ignores(tokens.get(2..)?)).collect()
}

/// The line of an `ignore` in the attribute whose content `tokens` begin with.
fn ignores(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.is('[') {
            depth += 1;
        } else if token.is(']') {
            depth = depth.checked_sub(1)?;
        } else if token.is_word("ignore") {
            let reason = tokens.get(at + 2).map(|token| &token.kind);
            return (reason != Some(&Kind::Text(CHILD.to_owned()))).then_some(token.line);
        }
    }
    None
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = super::root();
    let files = super::project_files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    files.map(|path| (path.clone(), super::read(&root.join(path)))).collect()
}

#[test]
fn no_source_file_is_too_long() {
    let complaints: Vec<String> = sources().iter().filter_map(|(path, text)| too_long(path, text)).collect();
    super::assert_none(&complaints);
}

#[test]
fn no_test_is_ignored_but_those_that_others_start() {
    let complain = |(path, text): &(PathBuf, String)| -> Vec<String> {
        let lines = ignored(&tokens(text)).into_iter();
        let path = path.display();
        lines.map(|line| format!("{path}:{line}: nobody runs an ignored test: make it run, or a bench")).collect()
    };
    let complaints: Vec<String> = sources().iter().flat_map(complain).collect();
    super::assert_none(&complaints);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_too_long_by_one_line() {
        let path = Path::new("x.rs");
        assert!(too_long(path, &"\n".repeat(MOST_LINES)).is_none());
        assert!(too_long(path, &"\n".repeat(MOST_LINES + 1)).is_some());
    }

    #[test]
    fn an_ignored_test_is_found_whatever_its_reason() {
        let check = |source: &str| ignored(&tokens(source));
        assert_eq!(check("#[test]\n#[ignore]\nfn test() {}"), [2]);
        assert_eq!(check("#[ignore = \"takes long\"] fn test() {}"), [1]);
        assert_eq!(check("#[cfg_attr(all(), ignore)] fn test() {}"), [1]);
        let child = format!("#[test]\n#[ignore = \"{CHILD}\"]\nfn child() {{}}");
        assert_eq!(check(&child), [0; 0]);
        assert_eq!(check("#[test] fn ignore() { let ignore = [1]; }"), [0; 0]);
    }
}
