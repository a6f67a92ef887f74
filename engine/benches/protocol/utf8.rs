//! Validation of text: whole, and in pieces that cut characters.

use std::hint::black_box;

use throng::protocol::utf8::{Utf8Validator, validate};

use super::Case;

const ASCII: &str = "The quick brown fox jumps over the lazy dog. ";
const CJK: &str = "色は匂へど散りぬるを我が世誰ぞ常ならむ";
const MIXED: &str = "Grüße aus Köln 🦊, привет, 你好, and good bye. ";

pub(super) fn cases() -> Vec<Case> {
    vec![
        whole("utf8/ASCII 20 B", ASCII, 20),
        whole("utf8/ASCII 128 B", ASCII, 128),
        whole("utf8/ASCII 4 KiB", ASCII, 4 << 10),
        whole("utf8/CJK 21 B", CJK, 21),
        whole("utf8/CJK 4 KiB", CJK, 4 << 10),
        whole("utf8/mixed 4 KiB", MIXED, 4 << 10),
        pieces("utf8/CJK 4 KiB, in pieces of 100 B", CJK),
        pieces("utf8/mixed 4 KiB, in pieces of 100 B", MIXED),
    ]
}

fn whole(name: &'static str, text: &str, len: usize) -> Case {
    let text = text_of(text, len);
    Case::new(name, 1, move || {
        let _ = black_box(validate(black_box(&text)));
    })
}

fn pieces(name: &'static str, text: &str) -> Case {
    let text = text_of(text, 4 << 10);
    Case::new(name, 1, move || {
        let mut validator = Utf8Validator::default();
        for piece in black_box(&text).chunks(100) {
            validator.push(piece).expect("valid");
        }
        validator.finish().expect("whole");
    })
}

/// `text` again and again, as many whole characters as fit into `len` bytes.
fn text_of(text: &str, len: usize) -> Vec<u8> {
    let mut fitting = String::new();
    for character in text.chars().cycle() {
        if fitting.len() + character.len_utf8() > len {
            break;
        }
        fitting.push(character);
    }
    fitting.into_bytes()
}
