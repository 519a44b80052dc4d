//! The map's expression on a source line: the `s.sessions` of `v, ok := s.sessions[key]`.
//!
//! No parser of Go: a line is only read where one reading is possible. An index expression is of the
//! map that the called function is for if it is the only one of its side of the assignment.

/// The expression of the map that `callee` was called for on this line; `None` where the line does
/// not tell.
pub fn expression(line: &str, callee: &str) -> Option<String> {
    if line.len() > LONGEST {
        return None;
    }
    let code = without_texts(line)?;
    let name = callee.strip_prefix("runtime.map")?;
    if name.starts_with("delete") {
        return only(calls_of(&code, "delete"));
    }
    if name.starts_with("clear") {
        return only(
            calls_of(&code, "clear")
                .into_iter()
                .chain(ranged(&code))
                .collect(),
        );
    }
    if name.starts_with("iter") || name.starts_with("Iter") {
        return only(ranged(&code).into_iter().collect());
    }
    let (left, right, also_read) = sides(&code);
    if name.starts_with("assign") {
        return only(indexed(left));
    }
    if name.starts_with("access") {
        // `m[k] += v` and `m[k]++` call only the assign.
        let found = indexed(right);
        return only(if found.is_empty() && also_read {
            indexed(left)
        } else {
            found
        });
    }
    None
}

/// Longer lines were written by programs, and reading one takes the square of its length.
const LONGEST: usize = 1000;

/// The one text in the list, how often soever it is in it.
fn only(mut found: Vec<String>) -> Option<String> {
    found.dedup();
    match found.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// The line with the contents of its string and rune literals blanked, and without its comment.
/// `None` for a line that ends in one.
fn without_texts(line: &str) -> Option<String> {
    let mut code = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' | '`' => {
                code.push('"');
                loop {
                    match chars.next()? {
                        '\\' if c != '`' => {
                            chars.next()?;
                        }
                        end if end == c => break,
                        _ => {}
                    }
                }
                code.push('"');
            }
            '/' if chars.peek() == Some(&'/') => break,
            c => code.push(c),
        }
    }
    Some(code)
}

/// What is left and right of the line's assignment; of a line without one, everything is right.
/// Whether the left side is read too.
fn sides(code: &str) -> (&str, &str, bool) {
    let bytes = code.as_bytes();
    let mut depth = 0i32;
    for (i, &c) in bytes.iter().enumerate() {
        match c {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b'=' if depth == 0 => {
                let before = i.checked_sub(1).and_then(|i| bytes.get(i)).copied();
                let compares = bytes.get(i + 1) == Some(&b'=')
                    || matches!(before, Some(b'=' | b'!' | b'<' | b'>'));
                if !compares {
                    let left = code.get(..i).unwrap_or("");
                    let defines = before == Some(b':');
                    let plain = !before.is_some_and(|b| b"+-*/%&|^".contains(&b));
                    let right = code.get(i + 1..).unwrap_or("");
                    return (if defines { "" } else { left }, right, !plain);
                }
            }
            b'+' | b'-' if depth == 0 && bytes.get(i + 1) == Some(&c) => {
                return (code.get(..i).unwrap_or(""), "", true);
            }
            _ => {}
        }
    }
    ("", code, false)
}

/// Every `x` of an `x[`, with its selectors, indexes and calls in parentheses left out of account:
/// `c.shards[i].m` of `c.shards[i].m[k]`.
fn indexed(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices('[') {
        let Some(before) = operand_before(code, at) else {
            continue;
        };
        // `make(map[K]V)` and `[]T` index nothing; `a[i]` of `a[i][k]` or `a[i].m[k]` is not the map.
        let Some(end) = code.get(at..).and_then(closing) else {
            continue;
        };
        let goes_on = code.as_bytes().get(at + end + 1);
        let is_type = matches!(before.as_str(), "map" | "chan" | "func" | "struct");
        if !is_type && !matches!(goes_on, Some(b'[' | b'.')) {
            found.push(before);
        }
    }
    found
}

/// The operand that ends before byte `at`.
fn operand_before(code: &str, at: usize) -> Option<String> {
    let bytes = code.as_bytes();
    let mut start = at;
    while let Some(i) = start.checked_sub(1) {
        let c = *bytes.get(i)?;
        if c.is_ascii_alphanumeric() || c == b'_' || c == b'.' || c >= 0x80 {
            start = i;
        } else if c == b']' {
            start = opening(code, i)?;
        } else {
            break;
        }
    }
    let text = code.get(start..at)?;
    let named = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    (named && !text.ends_with('.')).then(|| text.to_owned())
}

/// The byte of the bracket that the one at `at` closes.
fn opening(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (i, &c) in code.as_bytes().get(..=at)?.iter().enumerate().rev() {
        match c {
            b']' => depth += 1,
            b'[' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i);
        }
    }
    None
}

/// The byte of the bracket that closes the one that `code` begins with.
fn closing(code: &str) -> Option<usize> {
    let mut depth = 0i32;
    for (i, c) in code.bytes().enumerate() {
        match c {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i);
        }
    }
    None
}

/// The first arguments of the calls of a builtin.
fn calls_of(code: &str, builtin: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(builtin) {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let begins = !code.get(..at).is_some_and(|before| before.ends_with(word));
        let rest = code
            .get(at + builtin.len()..)
            .and_then(|rest| rest.strip_prefix('('));
        if let (true, Some(rest)) = (begins, rest) {
            let mut depth = 0i32;
            let end = rest.find(|c: char| {
                match c {
                    '(' | '[' | '{' => depth += 1,
                    ')' if depth == 0 => return true,
                    ')' | ']' | '}' => depth -= 1,
                    _ => {}
                }
                c == ',' && depth == 0
            });
            found.extend(end.and_then(|end| simple(rest.get(..end)?)));
        }
    }
    found
}

/// What a `for ... range x {` goes over.
fn ranged(code: &str) -> Option<String> {
    let (_, rest) = code.split_once("range ")?;
    simple(rest.split('{').next()?)
}

/// An expression of names, selectors and indexes only.
fn simple(text: &str) -> Option<String> {
    let text = text.trim();
    let whole = operand_before(text, text.len())?;
    (whole == text).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_of_a_lookup_is_what_is_indexed() {
        let of = |line, callee: &str| expression(line, &format!("runtime.{callee}"));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of("\tv, ok := s.sessions[key]", "mapaccess2_faststr"),
            some("s.sessions")
        );
        assert_eq!(
            of("return c.shards[i].m[k], nil", "mapaccess1_fast64"),
            some("c.shards[i].m")
        );
        assert_eq!(of("if hits[id] == 3 {", "mapaccess1_fast64"), some("hits"));
        assert_eq!(
            of("x := names[\"a[b\"] // old[k]", "mapaccess1_faststr"),
            some("names")
        );
        assert_eq!(of("a[k] = b[k]", "mapaccess1_fast64"), some("b"));
        assert_eq!(of("a[k] = b[k]", "mapassign_fast64"), some("a"));
        assert_eq!(of("a[k] += b[k]", "mapassign_fast64"), some("a"));
        assert_eq!(of("hits[id]++", "mapassign_fast64"), some("hits"));
    }

    #[test]
    fn builtins_and_loops_name_their_map() {
        let of = |line, callee: &str| expression(line, &format!("runtime.{callee}"));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of("delete(s.sessions, f(k, 1))", "mapdelete_faststr"),
            some("s.sessions")
        );
        assert_eq!(of("clear(seen)", "mapclear"), some("seen"));
        assert_eq!(
            of("for k, v := range s.byID {", "mapiterinit"),
            some("s.byID")
        );
        assert_eq!(
            of("for k := range m { delete(m, k) }", "mapclear"),
            some("m")
        );
    }

    #[test]
    fn a_line_that_can_be_read_in_two_ways_says_nothing() {
        let of = |line: &str| expression(line, "runtime.mapaccess1_fast64");
        assert_eq!(of("x := a[k] + b[k]"), None);
        assert_eq!(of("x := f()[k]"), None);
        assert_eq!(of("m := make(map[string]int)"), None);
        assert_eq!(of("x := `a"), None);
        assert_eq!(of(&"[".repeat(LONGEST)), None);
        assert_eq!(of(&format!("x := a[k] {}", "/".repeat(LONGEST))), None);
        assert_eq!(of("x := ]a[\u{e9}[k"), None);
        assert_eq!(expression("a[k] = 1", "runtime.makemap"), None);
        assert_eq!(expression("m.Delete(k)", "runtime.mapdelete_fast64"), None);
        assert_eq!(
            expression("for k := range keys() {", "runtime.mapiterinit"),
            None
        );
    }
}
