//! DEFLATE a bit at a time, obviously right: the tests' oracle (RFC 1951 §3.2).
//!
//! It knows what inflaters do not tell: how far back the sender referred.

/// Appends what `data` inflates to, which may refer to what `out` has already. Returns the longest
/// distance; `None` if something is wrong, or the data does not end with a block.
pub(super) fn inflate(data: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut bits = Bits { data, at: 0 };
    let mut distance_max = 0;
    while bits.at < 8 * data.len() {
        let is_final = bits.take(1)? == 1;
        let distance = match bits.take(2)? {
            0 => stored(&mut bits, out)?,
            1 => {
                let literals = [vec![8; 144], vec![9; 112], vec![7; 24], vec![8; 8]].concat();
                compressed(&mut bits, &Code::new(&literals), &Code::new(&[5; 30]), out)?
            }
            2 => {
                let (literals, distances) = codes(&mut bits)?;
                compressed(&mut bits, &literals, &distances, out)?
            }
            _ => return None,
        };
        distance_max = distance_max.max(distance);
        if is_final {
            bits.align();
        }
    }
    Some(distance_max)
}

fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Option<usize> {
    bits.align();
    let (len, inverted) = (bits.take(16)?, bits.take(16)?);
    if len != inverted ^ 0xFFFF {
        return None;
    }
    for _ in 0..len {
        out.push(bits.take(8)? as u8);
    }
    Some(0)
}

fn compressed(
    bits: &mut Bits<'_>,
    literals: &Code,
    distances: &Code,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let mut distance_max = 0;
    loop {
        let symbol = literals.read(bits)?;
        match symbol {
            0..256 => out.push(symbol as u8),
            256 => return Some(distance_max),
            _ => {
                let (base, extra) = *LENGTHS.get(symbol - 257)?;
                let len = base + bits.take(extra)?;
                let (base, extra) = *DISTANCES.get(distances.read(bits)?)?;
                let distance = base + bits.take(extra)?;
                distance_max = distance_max.max(distance);
                for _ in 0..len {
                    out.push(out[out.len().checked_sub(distance)?]);
                }
            }
        }
    }
}

/// The codes of a block that brings its own (§3.2.7).
fn codes(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literal_count, distance_count) = (bits.take(5)? + 257, bits.take(5)? + 1);
    let length_count = bits.take(4)? + 4;
    let mut lengths = [0; 19];
    for index in &ORDER[..length_count] {
        lengths[*index] = bits.take(3)?;
    }
    let code = Code::new(&lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literal_count + distance_count {
        let (length, count) = match code.read(bits)? {
            16 => (*lengths.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, count));
    }
    let (literals, distances) = lengths.split_at(literal_count);
    Some((Code::new(literals), Code::new(distances)))
}

struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// A number of `count` bits, the lowest first.
    fn take(&mut self, count: usize) -> Option<usize> {
        let mut number = 0;
        for index in 0..count {
            let byte = self.data.get(self.at / 8)?;
            number |= usize::from(byte >> (self.at % 8) & 1) << index;
            self.at += 1;
        }
        Some(number)
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// A Huffman code (§3.2.2): how many symbols have each length, and the symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().filter(|length| **length > 0).for_each(|length| counts[*length] += 1);
        let mut symbols: Vec<_> =
            (0..lengths.len()).filter(|symbol| lengths[*symbol] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Self { counts, symbols }
    }

    fn read(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code = code << 1 | bits.take(1)?;
            first <<= 1;
            if code < first + count {
                return Some(self.symbols[index + code - first]);
            }
            first += count;
            index += count;
        }
        None
    }
}

/// The shortest length of each symbol from 257 on, and how many bits are to be added to it (§3.2.5).
#[rustfmt::skip]
const LENGTHS: [(usize, usize); 29] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1),
    (17, 1), (19, 2), (23, 2), (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4),
    (83, 4), (99, 4), (115, 4), (131, 5), (163, 5), (195, 5), (227, 5), (258, 0),
];

#[rustfmt::skip]
const DISTANCES: [(usize, usize); 30] = [
    (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1), (9, 2), (13, 2), (17, 3), (25, 3), (33, 4),
    (49, 4), (65, 5), (97, 5), (129, 6), (193, 6), (257, 7), (385, 7), (513, 8), (769, 8),
    (1025, 9), (1537, 9), (2049, 10), (3073, 10), (4097, 11), (6145, 11), (8193, 12), (12289, 12),
    (16385, 13), (24577, 13),
];
