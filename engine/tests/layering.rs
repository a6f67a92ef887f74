//! The picture of the house holds: who imports whom, where `unsafe` lives, how long a file is.
//!
//! [`ARROWS`] is the picture as data. Every path of the code that begins with `crate::` or `super::`
//! is read against it, both ways: an arrow that is not in the picture is wrong, and so is one that
//! nobody needs. A new arrow is a line in the diff of this file, and worth a thought.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each part of the engine imports, besides its own: a part is a file, or a folder with all
/// that is in it. Of another folder the name is enough; of one's own the file is named. Tests are
/// free to see everything.
const ARROWS: &[(&str, &[&str])] = &[
    // Bytes at speed, and memory: nothing is below them.
    ("simd", &[]),
    ("pool/region", &[]),
    ("pool/buffer", &[]),
    ("pool/slab", &[]),
    ("pool/arena", &["pool/region"]),
    // RFC 6455 as pure functions and small machines.
    ("protocol", &[]),
    ("protocol/opcode", &[]),
    ("protocol/close", &[]),
    ("protocol/limits", &[]),
    ("protocol/error", &["protocol/close"]),
    ("protocol/mask", &["simd"]),
    ("protocol/utf8", &["simd", "protocol/error"]),
    ("protocol/header", &["protocol/error", "protocol/mask", "protocol/opcode"]),
    ("protocol/control", &["protocol/close", "protocol/error", "protocol/header", "protocol/utf8"]),
    ("protocol/decoder", &["protocol/error", "protocol/header", "protocol/mask"]),
    (
        "protocol/assembler",
        &[
            "simd",
            "protocol/control",
            "protocol/error",
            "protocol/header",
            "protocol/limits",
            "protocol/mask",
            "protocol/message",
            "protocol/opcode",
            "protocol/utf8",
        ],
    ),
    ("protocol/decode_error", &["protocol/close"]),
    ("protocol/message", &["protocol/decode_error", "protocol/opcode"]),
    ("protocol/part", &["protocol/message", "protocol/opcode"]),
    ("protocol/json", &["protocol/decode_error", "protocol/message", "protocol/prepared"]),
    ("protocol/protobuf", &["protocol/decode_error", "protocol/message", "protocol/prepared"]),
    (
        "protocol/prepared",
        &["protocol/encoder", "protocol/header", "protocol/message", "protocol/opcode"],
    ),
    ("protocol/plain", &["protocol/error", "protocol/mask", "protocol/message", "protocol/utf8"]),
    ("protocol/encoder", &["simd", "protocol/header", "protocol/mask", "protocol/opcode"]),
    ("protocol/extension", &["protocol/handshake", "protocol/header"]),
    ("protocol/extension/deflate", &["protocol/error", "protocol/extension", "protocol/header"]),
    ("protocol/handshake", &["protocol/extension", "protocol/utf8"]),
    (
        "protocol/fuzz",
        &[
            "protocol/assembler",
            "protocol/close",
            "protocol/decoder",
            "protocol/error",
            "protocol/header",
            "protocol/limits",
            "protocol/mask",
            "protocol/opcode",
        ],
    ),
    // A connection's life, without a socket and without a clock.
    ("conn", &["protocol"]),
    ("conn/peer", &["conn"]),
    ("conn/deadline", &["conn"]),
    ("conn/adopt_error", &[]),
    ("conn/cause", &["protocol", "conn/deadline"]),
    ("conn/connect_error", &["protocol", "conn/cause", "conn/deadline"]),
    ("conn/deflating", &["protocol", "conn"]),
    ("conn/inbound", &["protocol", "pool", "conn/deadline"]),
    ("conn/outbound", &["protocol", "pool", "conn/deadline"]),
    // Talking to the kernel, without a frame. No driver knows another; `probe` chooses.
    ("driver", &["pool"]),
    ("driver/payload", &["pool", "driver"]),
    ("driver/route", &[]),
    ("driver/socket", &["pool", "driver/route"]),
    ("driver/descriptor_table", &[]),
    ("driver/epoll", &["pool", "driver", "driver/route", "driver/socket"]),
    ("driver/uring", &["pool", "driver", "driver/route", "driver/socket"]),
    ("driver/probe", &["driver", "driver/uring"]),
    // What is set, and what can go wrong.
    ("config", &["conn", "protocol"]),
    ("error", &[]),
    // Introduces connections to a driver. It knows the driver's trait, and no driver.
    ("reactor", &["config", "conn", "driver", "pool", "protocol"]),
    // What users see: of both ends, and of each.
    ("endpoint", &["config", "conn", "driver", "error", "pool", "protocol", "reactor", "simd"]),
    ("server", &["driver", "endpoint", "error", "protocol"]),
    ("client", &["conn", "driver", "endpoint", "error", "protocol"]),
    // The client that needs none of the reactor but its source of masking keys.
    ("client/blocking", &["client", "conn", "driver", "endpoint", "error", "protocol", "reactor"]),
    ("", &["protocol", "server"]),
];

/// Which folder lies above which: an arrow from one folder to another points to a smaller number.
const LEVELS: &[(&str, u8)] = &[
    ("simd", 0),
    ("pool", 0),
    ("protocol", 1),
    ("conn", 2),
    ("driver", 2),
    ("config", 3),
    ("error", 3),
    ("reactor", 4),
    ("endpoint", 5),
    ("server", 6),
    ("client", 6),
    ("", 7),
];

/// Who may say `unsafe`, and who forbids it.
const UNSAFE: &[&str] = &["simd", "pool", "driver"];
const SAFE: &[&str] = &["protocol", "conn", "reactor", "endpoint", "server", "client"];

/// A file has at most this many lines, but for these, which are tables or one long story.
const LINES_MAX: usize = 700;
const LONG_FILES: &[&str] =
    &["src/driver/contract/mod.rs", "src/driver/epoll/mod.rs", "src/driver/uring/tests.rs"];

/// What is not finished. (In two halves, lest this file be found.)
const UNFINISHED: &[[&str; 2]] = &[
    ["TO", "DO"],
    ["FIX", "ME"],
    ["XX", "X"],
    ["todo", "!"],
    ["unimplemented", "!"],
    ["dbg", "!"],
];

#[test]
fn imports_follow_the_arrows() {
    let house = House::read();
    let mut drawn: BTreeSet<(&str, &str)> = ARROWS
        .iter()
        .flat_map(|(from, targets)| targets.iter().map(|target| (*from, *target)))
        .collect();
    let mut wrong = Vec::new();
    for (from, to) in house.arrows() {
        let Some((part, targets)) = part_of(&from) else {
            wrong.push(format!("{from} has no place in the picture"));
            continue;
        };
        if part_of(&to).is_some_and(|(other, _)| other == part) {
            continue;
        }
        match targets.iter().find(|target| covers(target, &to, part)) {
            Some(target) => drop(drawn.remove(&(*part, *target))),
            None => wrong.push(format!("{from} imports {to}, which is not in the picture")),
        }
    }
    wrong.extend(drawn.iter().map(|(from, to)| format!("nothing in {from} imports {to} any more")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn arrows_point_down() {
    let level = |name: &str| {
        let folder = name.split('/').next().expect("a split has a first part");
        let row = LEVELS.iter().find(|(other, _)| *other == folder);
        (folder.to_owned(), row.unwrap_or_else(|| panic!("{folder} has no level")).1)
    };
    for (from, targets) in ARROWS {
        for to in *targets {
            let ((here, above), (there, below)) = (level(from), level(to));
            assert!(here == there || below < above, "{from} lies below or beside {to}");
        }
    }
}

#[test]
fn unsafe_lives_where_it_is_expected() {
    let house = House::read();
    for (module, code) in &house.modules {
        let folder = module.split('/').next().expect("a split has a first part");
        let is_used = words(code).any(|word| word == "unsafe");
        assert!(!is_used || UNSAFE.contains(&folder), "`unsafe` in {module}");
    }
    for folder in SAFE {
        assert!(house.modules[*folder].contains("#![forbid(unsafe_code)]"), "{folder} allows it");
    }
}

#[test]
fn files_are_short_and_finished() {
    for path in rust_files(&root().join("src")).into_iter().chain(rust_files(&root().join("tests")))
    {
        let text = fs::read_to_string(&path).expect("it was just found");
        let name = name_in(&root(), &path);
        let line_count = text.lines().count();
        let is_long = LONG_FILES.contains(&name.as_str());
        assert!(line_count <= LINES_MAX || is_long, "{name} has {line_count} lines");
        assert!(line_count > LINES_MAX || !is_long, "{name} is no longer long: strike it off");
        let begins_well = text.starts_with("//! ") || text.starts_with("#![doc");
        assert!(begins_well, "{name} does not begin by saying what it is about");
        for halves in UNFINISHED {
            let word = halves.concat();
            assert!(!text.contains(&word), "{name} has a {word} in it");
        }
    }
}

/// The row of [`ARROWS`] for a module.
fn part_of(module: &str) -> Option<(&'static &'static str, &'static [&'static str])> {
    let fits = |name: &str| {
        module == name || module.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
    };
    let rows = ARROWS.iter().filter(|(name, _)| fits(name));
    rows.max_by_key(|(name, _)| name.len()).map(|(name, targets)| (name, *targets))
}

/// Whether an arrow of `part` to `target` allows for importing `module`. Another folder stands for
/// all that is in it, a folder that `part` itself is in only for what is defined in its `mod.rs`.
fn covers(target: &str, module: &str, part: &str) -> bool {
    let is_in =
        |module: &str| module.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'));
    module == target || (is_in(module) && !is_in(part))
}

/// The engine's source, without comments, literals and tests.
struct House {
    /// Code by the path of its module, as in `protocol/header`. The crate's root is the empty one.
    modules: BTreeMap<String, String>,
    /// Where the names are defined that a `mod.rs` passes on: by module and name.
    passed_on: BTreeMap<(String, String), Vec<String>>,
}

impl House {
    fn read() -> Self {
        let source = root().join("src");
        let mut modules = BTreeMap::new();
        let mut tests = Vec::new();
        for path in rust_files(&source) {
            let name = name_in(&source, &path);
            let module = name.trim_end_matches(".rs").trim_end_matches("/mod").to_owned();
            let module = if module == "lib" { String::new() } else { module };
            let text = fs::read_to_string(&path).expect("it was just found");
            let (code, declared) = without_tests(&bare(&text));
            tests.extend(declared.into_iter().map(|name| child(&module, &name)));
            modules.insert(module, code);
        }
        modules.retain(|module, _| {
            !tests.iter().any(|test| {
                module == test
                    || module.strip_prefix(test).is_some_and(|rest| rest.starts_with('/'))
            })
        });
        let mut house = Self { modules, passed_on: BTreeMap::new() };
        house.passed_on = house.find_passed_on();
        house
    }

    fn find_passed_on(&self) -> BTreeMap<(String, String), Vec<String>> {
        let mut passed_on = BTreeMap::new();
        for (module, code) in &self.modules {
            for mut path in paths(code, "self::") {
                let name = path.pop().expect("a path has a part");
                if path
                    .first()
                    .is_some_and(|first| self.modules.contains_key(&child(module, first)))
                {
                    passed_on.insert((module.clone(), name), path);
                }
            }
        }
        passed_on
    }

    /// Who imports whom, modules all.
    fn arrows(&self) -> BTreeSet<(String, String)> {
        let mut arrows = BTreeSet::new();
        for (module, code) in &self.modules {
            let from_root = paths(code, "crate::").into_iter().map(|path| (String::new(), path));
            let from_parent =
                paths(code, "super::").into_iter().map(|path| (parent(module).to_owned(), path));
            for (base, path) in from_root.chain(from_parent) {
                let target = self.resolve(base, &path);
                if target != *module {
                    arrows.insert((module.clone(), target));
                }
            }
        }
        arrows
    }

    /// The module that defines what `path`, seen from `base`, names.
    fn resolve(&self, base: String, path: &[String]) -> String {
        let Some((first, rest)) = path.split_first() else { return base };
        if first == "super" {
            return self.resolve(parent(&base).to_owned(), rest);
        }
        let deeper = child(&base, first);
        if self.modules.contains_key(&deeper) {
            return self.resolve(deeper, rest);
        }
        match self.passed_on.get(&(base.clone(), first.clone())) {
            Some(way) => self.resolve(base, &[way.as_slice(), path].concat()),
            None => base,
        }
    }
}

fn child(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}/{name}") }
}

fn parent(module: &str) -> &str {
    module.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// All paths that begin with `start` (which is not part of them), those of a `use` tree one by one.
fn paths(code: &str, start: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start) {
        let is_inside = code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
        if !is_inside {
            let mut rest = &code[at + start.len()..];
            read_tree(&mut rest, &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one branch of a `use` tree, up to the comma or brace that ends it.
fn read_tree(code: &mut &str, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let depth = path.len();
    loop {
        *code = code.trim_start();
        let len = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
        let (word, rest) = code.split_at(len);
        *code = rest;
        if !word.is_empty() && word != "self" {
            path.push(word.to_owned());
        }
        if let Some(rest) = code.strip_prefix("::") {
            *code = rest;
            continue;
        }
        match code.strip_prefix('{') {
            Some(rest) => {
                *code = rest.trim_start();
                while !code.starts_with('}') {
                    read_tree(code, path, found);
                    // Also past `as name`.
                    let end = code.find([',', '}']).expect("a tree is closed");
                    *code = code[end..].trim_start_matches(',').trim_start();
                }
                *code = &code[1..];
            }
            None => found.push(path.clone()),
        }
        path.truncate(depth);
        return;
    }
}

/// The code without what `#[cfg(test)]` hides, and the names of the test modules in other files.
/// (What only the fuzzer sees counts as a test as well.)
fn without_tests(code: &str) -> (String, Vec<String>) {
    let (mut kept, mut declared) = (String::new(), Vec::new());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(") {
        let attribute_end = at + rest[at..].find(']').expect("an attribute is closed") + 1;
        let attribute = &rest[at..attribute_end];
        let is_test = words(attribute).any(|word| word == "test" || word == "fuzzing");
        let mut item = rest[attribute_end..].trim_start();
        while item.starts_with("#[") {
            item = item[item.find(']').expect("an attribute is closed") + 1..].trim_start();
        }
        let item = item.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let Some(module) = item.strip_prefix("mod ").filter(|_| is_test) else {
            kept.push_str(&rest[..attribute_end]);
            rest = &rest[attribute_end..];
            continue;
        };
        kept.push_str(&rest[..at]);
        let name_end = module.find([' ', ';']).expect("a module goes on");
        rest = match module[name_end..].starts_with(';') {
            true => {
                declared.push(module[..name_end].to_owned());
                &module[name_end..]
            }
            false => after_block(module),
        };
    }
    kept.push_str(rest);
    (kept, declared)
}

/// What follows the first block in braces.
fn after_block(code: &str) -> &str {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &code[at + 1..],
            '}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// Code without comments, and with empty literals.
fn bare(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let raw = rest.trim_start_matches(['b', 'r']);
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let is_raw =
            rest[..rest.len() - raw.len()].ends_with('r') && raw[hashes..].starts_with('"');
        let after = |start: usize, end: &str| {
            let end_at = rest[start..].find(end).map_or(rest.len(), |at| start + at + end.len());
            &rest[end_at..]
        };
        if rest.starts_with("//") {
            rest = after(0, "\n");
            code.push('\n');
        } else if is_raw && !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            let start = rest.len() - raw.len() + hashes + 1;
            rest = after(start, &format!("\"{}", "#".repeat(hashes)));
        } else if c == '"' {
            rest = after_quoted(&rest[1..], '"');
        } else if c == '\'' && is_char(&rest[1..]) {
            rest = after_quoted(&rest[1..], '\'');
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    code
}

/// Whether what follows a single quote is a character, and not a lifetime.
fn is_char(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

fn after_quoted(rest: &str, quote: char) -> &str {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices() {
        if c == quote && !is_escaped {
            return &rest[at + c.len_utf8()..];
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    ""
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn name_in(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("it was found there").to_string_lossy().into_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn the_reader_can_read() {
    let code = bare(
        "use crate::{a::{self, B, c::D as E}, f::*}; // crate::comment\n\
         let s = \"crate::string\"; let c = '\"'; let q = '\\''; fn f<'a>() { super::super::g(r#\"\"x\"#) }",
    );
    let joined = |start| {
        let joined: Vec<_> = paths(&code, start).iter().map(|path| path.join("::")).collect();
        joined.join(" ")
    };
    assert_eq!(joined("crate::"), "a a::B a::c::D f");
    assert_eq!(joined("super::"), "super::g");
    let (code, declared) = without_tests(
        "#[cfg(test)]\nmod tests;\n#[cfg(unix)] mod unix;\n#[cfg(test)] mod more { fn f() {} } fn g() {}",
    );
    assert_eq!(declared, ["tests"]);
    assert!(code.contains("mod unix") && code.contains("fn g") && !code.contains("fn f"));
}
