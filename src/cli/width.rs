//! How many columns of a terminal a character takes.

/// Marks that are drawn on or into the character before them, and what is not drawn. Those of scripts that are not here count one
/// column: lines are shorter then, never too long.
const NONE: &[(u32, u32)] = &[
    (0x0300, 0x036f),
    (0x0483, 0x0489),
    (0x0591, 0x05bd),
    (0x0610, 0x061a),
    (0x064b, 0x065f),
    (0x093a, 0x093a),
    (0x0941, 0x0948),
    (0x094d, 0x094d),
    (0x0e31, 0x0e31),
    (0x0e34, 0x0e3a),
    (0x0e47, 0x0e4e),
    (0x1ab0, 0x1aff),
    (0x1dc0, 0x1dff),
    (0x200b, 0x200f),
    (0x2060, 0x2064),
    (0x20d0, 0x20f0),
    (0x302a, 0x302d),
    (0x3099, 0x309a),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
    (0xfeff, 0xfeff),
    (0xe0100, 0xe01ef),
];

/// What is wide in UAX #11, emoji among it; holes of a few characters are filled.
const WIDE: &[(u32, u32)] = &[
    (0x1100, 0x115f),
    (0x231a, 0x231b),
    (0x23e9, 0x23ec),
    (0x23f0, 0x23f0),
    (0x23f3, 0x23f3),
    (0x25fd, 0x25fe),
    (0x2614, 0x2615),
    (0x2648, 0x2653),
    (0x267f, 0x267f),
    (0x2693, 0x2693),
    (0x26a1, 0x26a1),
    (0x26aa, 0x26ab),
    (0x26bd, 0x26be),
    (0x26c4, 0x26c5),
    (0x26ce, 0x26ce),
    (0x26d4, 0x26d4),
    (0x26ea, 0x26ea),
    (0x26f2, 0x26f5),
    (0x26fa, 0x26fd),
    (0x2705, 0x2705),
    (0x270a, 0x270b),
    (0x2728, 0x2728),
    (0x274c, 0x274e),
    (0x2753, 0x2757),
    (0x2795, 0x2797),
    (0x27b0, 0x27bf),
    (0x2b1b, 0x2b1c),
    (0x2b50, 0x2b55),
    (0x2e80, 0x303e),
    (0x3041, 0xa4cf),
    (0xa960, 0xa97f),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe10, 0xfe19),
    (0xfe30, 0xfe6f),
    (0xff01, 0xff60),
    (0xffe0, 0xffe6),
    (0x16fe0, 0x18dff),
    (0x1aff0, 0x1b2ff),
    (0x1f004, 0x1f004),
    (0x1f0cf, 0x1f0cf),
    (0x1f18e, 0x1f18e),
    (0x1f191, 0x1f19a),
    (0x1f200, 0x1f320),
    (0x1f32d, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f7e0, 0x1f7f0),
    (0x1f90c, 0x1f9ff),
    (0x1fa70, 0x1faff),
    (0x20000, 0x3fffd),
];

pub(super) fn columns(character: char) -> usize {
    let code = character as u32;
    let is_in = |ranges: &[(u32, u32)]| {
        let after = ranges.partition_point(|(first, _)| *first <= code);
        after > 0 && code <= ranges[after - 1].1
    };
    match code {
        ..0x300 => 1,
        _ if is_in(NONE) => 0,
        _ if is_in(WIDE) => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_a_terminal() {
        for ranges in [NONE, WIDE] {
            assert!(ranges.is_sorted_by(|one, next| one.0 <= one.1 && one.1 < next.0));
        }
        for (text, count) in [
            ("aé—…", 4),
            ("e\u{301}", 1),
            ("日本語", 6),
            ("한국", 4),
            ("，。", 4),
            ("😀✅🚀", 6),
            ("❤\u{fe0f}", 1),
            ("ไม่", 2),
            ("\u{fffd}", 1),
        ] {
            assert_eq!(text.chars().map(columns).sum::<usize>(), count, "{text}");
        }
    }
}
