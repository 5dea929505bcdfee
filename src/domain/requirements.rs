//! What a machine must at least have to run an operating system. The catalogue sets the floor; it may be raised, not lowered.

use super::text::FieldError;

/// Minimum requirements of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirements {
    /// Virtual processors.
    pub vcpu: i32,
    /// Memory in MiB.
    pub memory_mib: i32,
    /// Disk in GiB.
    pub disk_gib: i32,
}

/// No figure, for *Other* before anything is set.
pub const NOTHING: Requirements = Requirements { vcpu: 1, memory_mib: 1, disk_gib: 0 };

/// The largest figures that make sense on present hardware: 4,096 processors, 64 TiB of memory, 1 PiB of disk.
const MOST: Requirements = Requirements { vcpu: 4_096, memory_mib: 67_108_864, disk_gib: 1_048_576 };

/// One figure to parse: its field, its name in words, its unit and its bounds.
struct Figure {
    field: &'static str,
    words: &'static str,
    unit: &'static str,
    least: i32,
    most: i32,
}

impl Requirements {
    /// Parses what was typed into `min_vcpu`, `min_memory_mib` and `min_disk_gib`. A blank field means the floor. `system` names what sets
    /// the floor. All faults are returned at once.
    pub fn parse(vcpu: &str, memory_mib: &str, disk_gib: &str, floor: Self, system: &str) -> Result<Self, Vec<FieldError>> {
        let figures = [
            (vcpu, Figure { field: "min_vcpu", words: "vCPU", unit: "vCPU", least: floor.vcpu, most: MOST.vcpu }),
            (memory_mib, Figure { field: "min_memory_mib", words: "memory", unit: "MiB", least: floor.memory_mib, most: MOST.memory_mib }),
            (disk_gib, Figure { field: "min_disk_gib", words: "disk", unit: "GiB", least: floor.disk_gib, most: MOST.disk_gib }),
        ];
        let mut faults = Vec::new();
        let mut parsed = figures.map(|(typed, figure)| parse_figure(typed, &figure, system).map_err(|fault| faults.push(fault)).ok());
        match (parsed[0].take(), parsed[1].take(), parsed[2].take()) {
            (Some(vcpu), Some(memory_mib), Some(disk_gib)) => Ok(Self { vcpu, memory_mib, disk_gib }),
            _ => Err(faults),
        }
    }

    /// `2 vCPU · 2 GiB memory · 20 GiB disk`, or that nothing was set.
    pub fn words(self) -> String {
        if self == NOTHING {
            return "no minimum set".to_owned();
        }
        let memory = super::size::words(u64::try_from(self.memory_mib).unwrap_or(0) << 20);
        format!("{} vCPU · {memory} memory · {} GiB disk", self.vcpu, self.disk_gib)
    }
}

fn parse_figure(typed: &str, figure: &Figure, system: &str) -> Result<i32, FieldError> {
    let Figure { field, words, unit, least, most } = *figure;
    let typed = typed.trim();
    if typed.is_empty() {
        return Ok(least);
    }
    let digits_only = typed.len() <= 10 && typed.bytes().all(|byte| byte.is_ascii_digit());
    let number = typed.parse::<i64>().ok().filter(|_| digits_only).ok_or_else(|| {
        FieldError::new(field, "requirements.number", format!("Give the minimum {words} as a whole number of {unit}, in digits."))
    })?;
    if number > i64::from(most) {
        let most = super::size::grouped(u64::try_from(most).unwrap_or(0));
        return Err(FieldError::new(field, "requirements.too_large", format!("The minimum {words} can be at most {most} {unit}.")));
    }
    if number < i64::from(least) {
        return Err(FieldError::new(
            field,
            "requirements.too_small",
            format!("{system} needs at least {least} {unit}. The minimum {words} can be raised, not lowered."),
        ));
    }
    i32::try_from(number).map_err(|_| FieldError::new(field, "requirements.number", "This number is too large."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Requirements = Requirements { vcpu: 1, memory_mib: 512, disk_gib: 4 };

    #[test]
    fn the_floor_may_be_raised_and_not_lowered() {
        assert_eq!(Requirements::parse("", "", "", FLOOR, "Debian 13"), Ok(FLOOR));
        assert_eq!(
            Requirements::parse("2", " 1024 ", "10", FLOOR, "Debian 13"),
            Ok(Requirements { vcpu: 2, memory_mib: 1_024, disk_gib: 10 })
        );
        let faults = Requirements::parse("0", "511", "3", FLOOR, "Debian 13").unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.field).collect::<Vec<_>>(), ["min_vcpu", "min_memory_mib", "min_disk_gib"]);
        assert!(faults[1].message.contains("at least 512 MiB"), "{}", faults[1].message);
    }

    #[test]
    fn only_whole_numbers_in_digits_are_taken() {
        for typed in ["-1", "1.5", "1e3", "NaN", "٣", "+4", "9223372036854775808", "10000000000000000000000000000000000000000"] {
            let faults = Requirements::parse(typed, "", "", FLOOR, "x").unwrap_err();
            assert_eq!((faults.len(), faults[0].field), (1, "min_vcpu"), "{typed}");
        }
        assert_eq!(Requirements::parse("2147483647", "", "", FLOOR, "x").unwrap_err()[0].code, "requirements.too_large");
    }
}
