//! Damaged binaries: an answer or an error, never a panic, never more memory than the file deserves.

mod common;

use mempath::program::Program;
use std::io::Read;

fn whole(binary: &str) -> Option<Vec<u8>> {
    let path = common::shared()?.join(format!("truth/go1.27.3-twins/{binary}.gz"));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .unwrap();
    Some(bytes)
}

/// Opens `bytes` and asks everything of the result.
fn ask(bytes: &[u8]) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let program = Program::open(file.path()).map_err(|error| error.to_string())?;
    for function in program.functions().iter().step_by(17) {
        program.frames_at(function.start);
        program.dwarf_frames_at(function.start + 5);
        program.bytes(function.start, 16);
    }
    for map in &program.map_types {
        program.type_name_at(map.addr);
    }
    program.variable_at(0x5a0000);
    program.read_u64(u64::MAX - 3);
    program.vaddr_of_offset(u64::MAX);
    Ok(())
}

#[test]
fn a_cut_binary_is_refused_with_its_name_and_what_to_do() {
    let Some(bytes) = whole("mapload") else {
        return;
    };
    for cut in [
        0,
        3,
        63,
        64,
        0x1000,
        0x9b000,
        bytes.len() / 2,
        bytes.len() - 1,
    ] {
        let Err(error) = ask(&bytes[..cut]) else {
            panic!("{cut} bytes were read")
        };
        assert!(
            error.starts_with("cannot read /") || error.starts_with('/'),
            "{cut}: {error}"
        );
        assert!(
            !error.contains('\n') && !error.ends_with('.'),
            "{cut}: {error}"
        );
    }
}

#[test]
fn flipped_bits_never_panic() {
    for binary in ["mapload", "mapload.s-w"] {
        let Some(bytes) = whole(binary) else { return };
        // A linear congruential generator (Knuth, MMIX): the same damage in every run.
        let mut state = 42u64;
        let mut next = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 16) as usize
        };
        for round in 0..60 {
            let mut damaged = bytes.clone();
            // The headers of file and segments, the tables of pclntab, and everywhere.
            let spans = [0..0x400, bytes.len() - 0x1000..bytes.len(), 0..bytes.len()];
            let span = spans[round % 3].clone();
            for _ in 0..if round % 3 == 2 { 2000 } else { 4 } {
                let at = span.start + next() % span.len();
                damaged[at] ^= 1 << (next() % 8);
            }
            let _ = ask(&damaged);
        }
    }
}

#[test]
fn a_header_that_claims_everything_allocates_nothing() {
    let Some(bytes) = whole("mapload.s-w") else {
        return;
    };
    let table = bytes
        .windows(8)
        .position(|w| w == [0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8])
        .unwrap();
    let mut claims = bytes.clone();
    claims[table + 8..table + 16].fill(0xff);
    let error = ask(&claims).unwrap_err();
    assert!(
        error.contains(".gopclntab") && error.contains("more functions than the table can hold"),
        "{error}"
    );
    assert!(error.contains(&format!("byte {table:#x}")), "{error}");
}
