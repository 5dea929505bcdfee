//! The short run: every seed, and many changes of each, the same ones every time.
//!
//! It needs no instrumented build of every library, which alone takes longer than all other tests; docs/decisions says more. What the long
//! run finds becomes a seed, and so a test.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use super::{Check, TARGETS};

/// Set to have the seeds written that tests make.
const WRITE: &str = "VMIMG_WRITE_SEEDS";

/// Set to have another number of changes tried.
const COUNT: &str = "VMIMG_FUZZ_INPUTS";

/// Longest input.
const MOST_BYTES: usize = 16 * 1024;

/// What is worth putting into an input, beside its own bytes: marks, limits, and what parsers split at.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"--",
    b"\r\n--",
    b"\r\n\r\n",
    b"&",
    b"=",
    b"%00",
    b"%2F",
    b"%ff",
    b"..",
    b"/",
    b"\\",
    b"//",
    b",",
    b";",
    b"\"",
    b"'",
    b"*=UTF-8''",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"9223372036854775807",
    b"bytes=",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"CD001",
    b"BEA01",
    b"NSR03",
    b"TEA01",
    b"EFI PART",
    b"conectix",
    b"EL TORITO SPECIFICATION",
    b"%/E",
    "\u{301}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{345}".as_bytes(),
    "ß".as_bytes(),
    "İ".as_bytes(),
];

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

/// Compares a seed with what a test makes, or writes it.
pub fn seed(target: &str, name: &str, content: &[u8]) {
    let path = folder(target).join(name);
    if std::env::var_os(WRITE).is_some() {
        fs::create_dir_all(folder(target)).unwrap();
        fs::write(&path, content).unwrap();
    }
    let found = fs::read(&path).unwrap_or_default();
    assert!(found == content, "{} is not what this test makes; set {WRITE}=1 to write it", path.display());
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Knuth's linear congruential generator for 64 bits: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    /// Changes an input a little; `others` are what it can be crossed with.
    fn change(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let length = (1 << self.below(7)).min(input.len() - at);
        match self.below(9) {
            0 | 1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 if at < input.len() => input[at] = self.byte(),
            3 if at < input.len() => {
                let step = self.below(9) as u8;
                input[at] = input[at].wrapping_add(step).wrapping_sub(4);
            }
            4 => drop(input.drain(at..at + length)),
            5 => {
                let copy = input[at..at + length].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            6 => {
                let word = WORDS[self.below(WORDS.len())];
                let replaced = if self.below(2) == 0 { word.len().min(input.len() - at) } else { 0 };
                input.splice(at..at + replaced, word.iter().copied());
            }
            7 => {
                let other = &others[self.below(others.len())];
                let from = self.below(other.len() + 1);
                let until = from + self.below(other.len() - from + 1);
                let replaced = if self.below(2) == 0 { (until - from).min(input.len() - at) } else { 0 };
                input.splice(at..at + replaced, other[from..until].iter().copied());
            }
            _ => {
                let bytes: Vec<u8> = (0..=self.below(4)).map(|_| self.byte()).collect();
                input.splice(at..at, bytes);
            }
        }
        input.truncate(MOST_BYTES);
    }
}

/// Runs a check and, where it fails, keeps the input.
fn run(target: &str, check: Check, input: &[u8]) {
    if let Err(failed) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz-found");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{target}-{}", crate::secret::hex(&<sha2::Sha256 as sha2::Digest>::digest(input)[..8])));
        fs::write(&path, input).unwrap();
        eprintln!("the input is kept in {}; add it to fuzz/seeds/{target} when it is mended", path.display());
        resume_unwind(failed);
    }
}

/// Every seed, then changes of one to eight steps.
fn many(target: &str, inputs: u32) {
    let inputs = std::env::var(COUNT).map_or(inputs, |count| count.parse().unwrap());
    let (_, check) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds.iter().for_each(|seed| run(target, check, seed));
    let mut random = Random(2026);
    for _ in 0..inputs {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(8) {
            random.change(&mut input, &seeds);
        }
        run(target, check, &input);
    }
}

#[test]
fn requests_of_programs_of_any_shape_are_read_soundly() {
    many("api", 100_000);
}

#[test]
fn headers_of_any_shape_are_read_soundly() {
    many("headers", 150_000);
}

#[test]
fn media_of_any_shape_are_read_soundly() {
    many("media", 100_000);
}

#[test]
fn forms_with_a_file_of_any_shape_are_read_soundly() {
    many("multipart", 20_000);
}

#[test]
fn queries_and_cursors_of_any_shape_are_read_soundly() {
    many("query", 100_000);
}

#[test]
fn texts_of_any_shape_are_read_soundly() {
    many("texts", 100_000);
}

#[test]
fn every_target_has_its_program_and_its_seeds_and_no_other_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| -> BTreeSet<String> {
        fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("targets"), targets);
    assert_eq!(names("seeds"), targets);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for target in &targets {
        let program = fs::read_to_string(root.join(format!("targets/{target}.rs"))).unwrap();
        assert!(program.contains(&format!("vmimg::fuzzing::{target}(data)")), "{target}");
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        let bytes: u64 = fs::read_dir(root.join("seeds").join(target)).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 100_000, "the seeds of {target} have {bytes} bytes: keep them small");
    }
}
