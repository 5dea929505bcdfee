//! Sizes in words: binary units with one decimal, and exact bytes with digits in groups.

const UNITS: [(&str, u64); 5] = [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// `4.7 GiB`, `64 KiB`, `512 bytes`: one decimal, left away where it is zero.
pub fn words(bytes: u64) -> String {
    let Some(index) = UNITS.iter().position(|(_, factor)| bytes >= *factor) else {
        return if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") };
    };
    let tenths = |factor: u64| (u128::from(bytes) * 10 + u128::from(factor) / 2) / u128::from(factor);
    // What rounds up to 1,024 of a unit is 1 of the next larger one.
    let larger = index.checked_sub(1).filter(|_| tenths(UNITS[index].1) >= 10_240);
    let (unit, factor) = UNITS[larger.unwrap_or(index)];
    match tenths(factor) {
        tenths if tenths % 10 == 0 => format!("{} {unit}", tenths / 10),
        tenths => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// `3.2 of 4.7 GiB`: in one unit where both have the same.
pub fn part(part: u64, whole: u64) -> String {
    let (part, whole) = (words(part), words(whole));
    match (part.split_once(' '), whole.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} of {whole}"),
        _ => format!("{part} of {whole}"),
    }
}

/// `5,081,088 bytes`.
pub fn exact(bytes: u64) -> String {
    if bytes == 1 { "1 byte".to_owned() } else { format!("{} bytes", grouped(bytes)) }
}

/// A number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 image`, `2 images`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_and_the_whole_share_their_unit() {
        assert_eq!(part(3 << 30, 5_046_586_573), "3 of 4.7 GiB");
        assert_eq!(part(700 << 20, 5_046_586_573), "700 MiB of 4.7 GiB");
        assert_eq!(part(0, 512), "0 of 512 bytes");
    }

    #[test]
    fn sizes_are_binary_with_one_decimal() {
        let rows = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1_023, "1023 bytes"),
            (1_024, "1 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_575, "1 MiB"),
            (5_081_088, "4.8 MiB"),
            (6_193_152, "5.9 MiB"),
            (1 << 30, "1 GiB"),
            (5_046_586_573, "4.7 GiB"),
            (u64::MAX, "16384 PiB"),
        ];
        for (bytes, shown) in rows {
            assert_eq!(words(bytes), shown, "{bytes}");
        }
    }

    #[test]
    fn digits_come_in_groups() {
        assert_eq!(exact(5_081_088), "5,081,088 bytes");
        assert_eq!(exact(999), "999 bytes");
        assert_eq!(counted(1, "image", "images"), "1 image");
        assert_eq!(counted(10_000, "image", "images"), "10,000 images");
    }
}
