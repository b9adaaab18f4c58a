//! The module tree of a crate, walked from its `lib.rs` as the compiler would, without the modules
//! that only tests see; and the paths in it that start at the crate's root.

use std::path::{Path, PathBuf};

use super::tokens::{Kind, Token, tokens, without_tests};

/// A source file of the crate, without test code.
pub(super) struct SourceFile {
    /// The file, relative to the project's top folder.
    pub(super) path: PathBuf,
    /// The module's path from the crate's root; empty for the root.
    pub(super) module: Vec<String>,
    pub(super) tokens: Vec<Token>,
}

/// A path of the source that leads through the crate's root, such as `crate::wire::Frame`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The path below the root: `wire` there, `*` for a glob.
    pub(super) target: String,
    pub(super) line: usize,
}

/// All files that make up the crate whose root is `lib`, a path relative to `root`.
pub(super) fn files(root: &Path, lib: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let folder = lib.parent().unwrap().to_path_buf();
    load(root, lib, &folder, Vec::new(), &mut files);
    files
}

/// Loads `path` and all it declares; `folder` is where its child modules lie.
fn load(root: &Path, path: &Path, folder: &Path, module: Vec<String>, files: &mut Vec<SourceFile>) {
    let tokens = without_tests(&tokens(&super::read(&root.join(path))));
    for child in scan(&tokens, &module).children {
        let mut child_module = module.clone();
        child_module.extend(child.inline.iter().cloned());
        let mut base = folder.to_path_buf();
        base.extend(&child.inline);
        child_module.push(child.name.clone());
        let (file, child_folder) = match &child.path {
            Some(named) => {
                let file = path.parent().unwrap().join(named);
                let folder = file.parent().unwrap().to_path_buf();
                (file, folder)
            }
            None => {
                let flat = base.join(format!("{}.rs", child.name));
                let nested = base.join(&child.name);
                if root.join(&flat).is_file() { (flat, nested) } else { (nested.join("mod.rs"), nested) }
            }
        };
        load(root, &file, &child_folder, child_module, files);
    }
    files.push(SourceFile { path: path.to_path_buf(), module, tokens });
}

/// Declarations and references of one file.
pub(super) struct Scan {
    pub(super) references: Vec<Reference>,
    children: Vec<Child>,
}

/// A `mod name;`.
struct Child {
    name: String,
    /// The inline modules around it in its file.
    inline: Vec<String>,
    /// Value of a `#[path = "…"]`.
    path: Option<String>,
}

/// Reads the tokens of the file that is `module`.
pub(super) fn scan(tokens: &[Token], module: &[String]) -> Scan {
    let mut scan = Scan { references: Vec::new(), children: Vec::new() };
    // One entry for each open brace; a name where the brace opened a module.
    let mut scopes: Vec<Option<String>> = Vec::new();
    let mut path_attribute = None;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        match &token.kind {
            Kind::Mark('{') => scopes.push(None),
            Kind::Mark('}') => {
                scopes.pop();
            }
            Kind::Mark(';') => path_attribute = None,
            Kind::Word(word) if word == "path" && next.is_some_and(|next| next.is('=')) => {
                if let Some(Kind::Text(text)) = tokens.get(at + 2).map(|token| &token.kind) {
                    path_attribute = Some(text.clone());
                }
            }
            Kind::Word(word) if word == "mod" => {
                let name = next.and_then(Token::word).unwrap_or_default().to_owned();
                match tokens.get(at + 2).map(|token| &token.kind) {
                    Some(Kind::Mark('{')) => {
                        scopes.push(Some(name));
                        at += 3;
                        continue;
                    }
                    Some(Kind::Mark(';')) => scan.children.push(Child {
                        name,
                        inline: scopes.iter().flatten().cloned().collect(),
                        path: path_attribute.take(),
                    }),
                    _ => {}
                }
            }
            Kind::Word(word)
                if matches!(word.as_str(), "crate" | "super" | "self")
                    && next.is_some_and(|next| next.kind == Kind::PathSeparator)
                    && (at == 0 || tokens[at - 1].kind != Kind::PathSeparator) =>
            {
                let mut here = module.to_vec();
                here.extend(scopes.iter().flatten().cloned());
                at = references(tokens, at, &here, &here, &mut scan.references);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    scan
}

/// Reads the path, or tree of paths, that starts at `at` after the modules `base`; `here` is the
/// module it stands in. Returns where it ends.
fn references(tokens: &[Token], mut at: usize, here: &[String], base: &[String], found: &mut Vec<Reference>) -> usize {
    let mut path = base.to_vec();
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Word(word) => match word.as_str() {
                "crate" => path.clear(),
                "super" => {
                    path.pop();
                }
                "self" => {}
                name => path.push(name.to_owned()),
            },
            Kind::Mark('*') => path.push("*".to_owned()),
            Kind::Mark('{') => {
                at += 1;
                while tokens.get(at).is_some_and(|token| !token.is('}')) {
                    at = references(tokens, at, here, &path, found);
                    while tokens.get(at).is_some_and(|token| !token.is(',') && !token.is('}')) {
                        at += 1; // `as name`
                    }
                    if tokens.get(at).is_some_and(|token| token.is(',')) {
                        at += 1;
                    }
                }
                return at + 1;
            }
            _ => break,
        }
        let line = token.line;
        at += 1;
        if tokens.get(at).is_some_and(|token| token.kind == Kind::PathSeparator) {
            at += 1;
            continue;
        }
        note(&path, here, line, found);
        return at;
    }
    // A path may also end before generic arguments: `crate::wire::decode::<T>`.
    let line = tokens.get(at.saturating_sub(1)).map_or(0, |token| token.line);
    note(&path, here, line, found);
    at
}

/// Notes `path` unless it stays inside the top-level module that it stands in.
fn note(path: &[String], here: &[String], line: usize, found: &mut Vec<Reference>) {
    let target = path.first().map_or("self", String::as_str);
    if here.first().map(String::as_str) != Some(target) {
        found.push(Reference { target: target.to_owned(), line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(source: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<String> = module.iter().map(|&name| name.to_owned()).collect();
        let tokens = without_tests(&tokens(source));
        scan(&tokens, &module).references.into_iter().map(|reference| reference.target).collect()
    }

    #[test]
    fn every_form_of_path_is_found() {
        assert_eq!(targets("use crate::a::B;", &["x"]), ["a"]);
        assert_eq!(targets("use crate::{a::B, c::{D, E}, f as g};", &["x"]), ["a", "c", "c", "f"]);
        assert_eq!(targets("fn f(b: &crate::a::B) -> crate::c::D {}", &["x"]), ["a", "c"]);
        assert_eq!(targets("let x = crate::a::decode::<u8>(1);", &["x"]), ["a"]);
        assert_eq!(targets("use crate::*;", &["x"]), ["*"]);
        assert_eq!(targets("macro_rules! m { () => { $crate::a::b!() } }", &["x"]), ["a"]);
        assert_eq!(targets("pub(crate) fn f() {} extern crate alloc;", &["x"]), Vec::<String>::new());
    }

    #[test]
    fn super_leads_out_of_as_many_modules_as_there_are() {
        assert_eq!(targets("use super::a::B;", &["x"]), ["a"]);
        assert_eq!(targets("use super::a::B;", &["x", "y"]), Vec::<String>::new());
        assert_eq!(targets("use super::super::a::B;", &["x", "y"]), ["a"]);
        assert_eq!(targets("use super::super::{a::B, c::D};", &["x", "y"]), ["a", "c"]);
        assert_eq!(targets("mod y { use super::a::B; }", &["x"]), Vec::<String>::new());
        assert_eq!(targets("mod y { } use super::a::B;", &["x"]), ["a"]);
        assert_eq!(targets("use self::super::a::B;", &["x"]), ["a"]);
    }

    #[test]
    fn the_own_module_and_test_code_are_no_references() {
        assert_eq!(targets("use crate::x::y::B;", &["x", "z"]), Vec::<String>::new());
        let source = "#[cfg(test)] mod tests { use crate::a::B; } use crate::c::D;";
        assert_eq!(targets(source, &["x"]), ["c"]);
    }

    #[test]
    fn braces_after_a_group_keep_their_scopes() {
        let source = "mod y { use crate::{a::B, c::D}; } use super::e::F;";
        assert_eq!(targets(source, &["x"]), ["a", "c", "e"]);
    }
}
