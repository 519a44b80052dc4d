//! `.go.buildinfo`: the version and settings that the linker leaves in every Go binary.

use super::elf::{Elf, le_u32};
use super::{Go, read_varint};

/// `cmd/link/internal/ld/data.go`, `buildinfo`; `debug/buildinfo`.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Flags at byte 15: the strings follow inline at byte 32 (Go >= 1.18).
const INLINE: u8 = 2;
/// `runtime/debug.modinfo` has 16 bytes of marker on both sides of the text.
const MARKER: usize = 16;

/// `None` when the file is not Go, or older than 1.18.
pub(super) fn read(elf: &Elf) -> Option<Go> {
    let section = elf.section(".go.buildinfo");
    let data = section.and_then(|section| elf.section_data(section));
    let blob = data
        .filter(|data| data.starts_with(MAGIC))
        .or_else(|| scan(elf))?;
    if blob.get(15)? & INLINE == 0 {
        return None;
    }
    let (version, rest) = string(blob.get(32..)?)?;
    let version = std::str::from_utf8(version).ok()?.to_owned();
    let text = (string(rest))
        .and_then(|(text, _)| text.get(MARKER..text.len().checked_sub(MARKER)?))
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .unwrap_or_default();
    Some(go(version, &text))
}

/// The text of Go's own build id: the note `Go` of type 4 (`cmd/link/internal/ld/elf.go`).
pub(super) fn build_id(elf: &Elf) -> Option<Vec<u8>> {
    let note = elf.section_data(elf.section(".note.go.buildid")?)?;
    let len = le_u32(note, 4)? as usize;
    let header = note.get(..16)?;
    (header.starts_with(&[4, 0, 0, 0]) && header.ends_with(b"Go\0\0"))
        .then(|| note.get(16..16usize.checked_add(len)?).map(<[u8]>::to_vec))?
}

/// The linker aligns the blob to 16 bytes and puts it into a data segment.
fn scan(elf: &Elf) -> Option<&[u8]> {
    elf.segments
        .iter()
        .filter(|s| !s.executable)
        .find_map(|segment| {
            let data = elf.tail(segment.vaddr)?;
            (0..data.len())
                .step_by(16)
                .filter_map(|at| data.get(at..))
                .find(|tail| tail.starts_with(MAGIC))
        })
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, used) = read_varint(bytes)?;
    bytes.get(used..)?.split_at_checked(len as usize)
}

fn go(version: String, text: &str) -> Go {
    let mut module = None;
    let mut settings = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        match (fields.next(), fields.next()) {
            (Some("mod"), Some(path)) => module = Some(path.to_owned()),
            (Some("build"), Some(setting)) => {
                if let Some((key, value)) = setting.split_once('=') {
                    settings.push((key.to_owned(), value.to_owned()));
                }
            }
            _ => {}
        }
    }
    let minor = (version.split("go1.").nth(1))
        .map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits?.parse().ok())
        .unwrap_or(0);
    // `go1.24.11 X:noswissmap`, `go1.27.3-X:mapsplitgroup`.
    let named = version.split_once("X:").map_or("", |(_, list)| list);
    let set = settings.iter().find(|(key, _)| key == "GOEXPERIMENT");
    let mut experiments: Vec<String> = (named.split(','))
        .chain(set.map_or("", |(_, list)| list.as_str()).split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    experiments.sort();
    experiments.dedup();
    Go {
        version,
        minor,
        experiments,
        module,
        settings,
    }
}

#[cfg(test)]
mod tests {
    use super::go;

    #[test]
    fn an_experiment_is_named_once_whether_in_the_version_or_the_settings() {
        let text = "path\tprobe\nmod\tprobe\t(devel)\t\nbuild\tGOEXPERIMENT=noswissmap\nbuild\t-ldflags=\"-s -w\"\n";
        let old = go("go1.24.11 X:noswissmap".into(), text);
        assert_eq!(
            (old.minor, old.experiments),
            (24, vec!["noswissmap".to_owned()])
        );
        assert_eq!(old.module.as_deref(), Some("probe"));
        assert_eq!(
            old.settings[1],
            ("-ldflags".to_owned(), "\"-s -w\"".to_owned())
        );
        let split = go("go1.27.3-X:mapsplitgroup".into(), "");
        assert_eq!(
            (split.minor, split.experiments),
            (27, vec!["mapsplitgroup".to_owned()])
        );
    }

    #[test]
    fn a_development_version_keeps_its_minor() {
        assert_eq!(go("devel go1.23-abcdef Thu".into(), "").minor, 23);
        assert_eq!(go("go1.27rc1".into(), "").minor, 27);
    }
}
