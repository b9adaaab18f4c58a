//! Traits of the core and the runtime have no default methods. Nodes wrap what implements them, to count or to bend; a
//! wrapper that doesn't name a method with a default swallows that of what it wraps, and nothing says so. Without
//! defaults the compiler does.

use std::path::Path;

use super::tokens::Token;
use super::tree;

/// The crates whose traits are wrapped.
const LIBS: [&str; 2] = ["core/src/lib.rs", "runtime-tokio/src/lib.rs"];

/// Methods with a body in the traits of a file: trait, method and line.
fn default_methods(tokens: &[Token]) -> Vec<(String, String, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        if !token.is_word("trait") {
            continue;
        }
        let Some(name) = tokens.get(at).and_then(Token::word) else { continue };
        // Depth of braces from the trait's own on, and the method whose head is being read.
        let (mut depth, mut method): (usize, Option<&Token>) = (0, None);
        while let Some(token) = tokens.get(at) {
            at += 1;
            if depth == 1 && token.is_word("fn") {
                method = tokens.get(at);
            } else if token.is(';') && depth <= 1 {
                method = None;
                if depth == 0 {
                    // An alias.
                    break;
                }
            } else if token.is('{') {
                depth += 1;
                if let Some(method) = method.take() {
                    found.push((name.to_owned(), method.word().unwrap_or_default().to_owned(), method.line));
                }
            } else if token.is('}') {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
        }
    }
    found
}

#[test]
fn no_trait_has_a_default_that_a_wrapper_could_swallow() {
    let mut complaints = Vec::new();
    for lib in LIBS {
        for file in tree::files(&super::root(), Path::new(lib)) {
            for (name, method, line) in default_methods(&file.tokens) {
                complaints.push(format!(
                    "{}:{line}: `{name}::{method}` has a default, which whoever wraps a `{name}` may forget to pass on: \
                     let each implementation say it",
                    file.path.display()
                ));
            }
        }
    }
    super::assert_none(&complaints);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::tokens::tokens;

    fn check(source: &str) -> Vec<String> {
        default_methods(&tokens(source)).into_iter().map(|(name, method, _)| format!("{name}::{method}")).collect()
    }

    #[test]
    fn a_method_with_a_body_is_found_among_those_without() {
        let source = "pub trait Handler<T: Fn(u8) -> u8>: Send where T: Copy {
            type Answer: Default;
            const MOST: usize = { 1 };
            fn ready(&self, with: [u8; 4]) -> bool;
            fn cost(&self) -> u8 { if true { 1 } else { 2 } }
            fn busy(&self);
            async fn handle(&self) where Self: Sized { let done = { 3 }; }
        }
        impl Handler for Echo { fn ready(&self) -> bool { true } }
        trait Bare {}";
        assert_eq!(check(source), ["Handler::cost", "Handler::handle"]);
    }

    #[test]
    fn what_is_no_method_of_a_trait_is_left_alone() {
        assert_eq!(check("struct Made; impl Made { fn make() {} } fn trait_like() { fn inner() {} }"), [""; 0]);
        assert_eq!(check("trait Alias = Send; fn after() {}"), [""; 0]);
    }
}
