//! Headers on their way out: checked once, when they are added, and kept as they will be written.

use super::{ResponseError, tokens};

/// Header lines, or the first thing that was wrong with one. Empty, it owns no memory.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderBlock {
    lines: Vec<u8>,
    fault: Option<ResponseError>,
}

impl HeaderBlock {
    /// Adds `name: value`, unless that is impossible or `reserved` to us.
    pub(super) fn push(&mut self, name: &str, value: &str, reserved: &[&str]) {
        match check(name, value, reserved) {
            Ok(()) => write_line(&mut self.lines, name, value),
            Err(fault) => self.fail(fault),
        }
    }

    /// Remembers `fault`, unless there is an earlier one.
    pub(super) fn fail(&mut self, fault: ResponseError) {
        self.fault.get_or_insert(fault);
    }

    /// The lines as they are written, each with its CR LF, or what was wrong first.
    pub(super) fn lines(&self) -> Result<&[u8], ResponseError> {
        match &self.fault {
            None => Ok(&self.lines),
            Some(fault) => Err(fault.clone()),
        }
    }
}

/// Writes one header that is known to be well-formed.
pub(super) fn write_line(out: &mut Vec<u8>, name: &str, value: &str) {
    for piece in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}

fn check(name: &str, value: &str, reserved: &[&str]) -> Result<(), ResponseError> {
    if !tokens::is_token(name) {
        return Err(ResponseError::InvalidHeaderName { name: name.into() });
    }
    if !value.bytes().all(tokens::is_value_byte) {
        return Err(ResponseError::InvalidHeaderValue { name: name.into() });
    }
    if reserved.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(ResponseError::ReservedHeader { name: name.into() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_faults() {
        let name = |name: &str| ResponseError::InvalidHeaderName { name: name.into() };
        let value = |name: &str| ResponseError::InvalidHeaderValue { name: name.into() };
        for (header, expected) in [
            (("Set-Cookie", "a=b"), Ok("Set-Cookie: a=b\r\n")),
            (("X", ""), Ok("X: \r\n")),
            (("X", "caf\u{e9}\t!"), Ok("X: caf\u{e9}\t!\r\n")),
            (("", "x"), Err(name(""))),
            (("X:", "x"), Err(name("X:"))),
            (("X Y", "x"), Err(name("X Y"))),
            (("X\r\nY", "x"), Err(name("X\r\nY"))),
            (("X", "a\r\nY: b"), Err(value("X"))),
            (("X", "a\nb"), Err(value("X"))),
            (("X", "a\rb"), Err(value("X"))),
            (("X", "a\0b"), Err(value("X"))),
            (("X", "a\u{7f}"), Err(value("X"))),
            (("UPGRADE", "x"), Err(ResponseError::ReservedHeader { name: "UPGRADE".into() })),
        ] {
            let mut block = HeaderBlock::default();
            block.push(header.0, header.1, &["Upgrade"]);
            let expected = expected.map(str::as_bytes);
            assert_eq!(block.lines(), expected, "{header:?}");
        }
    }

    #[test]
    fn the_first_fault_is_the_one_reported() {
        let mut block = HeaderBlock::default();
        block.push("A", "\n", &[]);
        block.push("B", "\n", &[]);
        block.push("C", "fine", &[]);
        assert_eq!(block.lines(), Err(ResponseError::InvalidHeaderValue { name: "A".into() }));
    }
}
