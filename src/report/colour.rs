//! Colours that the eye and a printer can tell apart: cividis for magnitude, Okabe-Ito for levels.
//! Never alone: every colour stands beside a number or a label.

pub type Rgb = (u8, u8, u8);

/// `report.css` maps these four, by their hexadecimal value, to the system's dark scheme.
pub const INK: Rgb = (0x22, 0x26, 0x2b);
pub const FAINT: Rgb = (0x6a, 0x71, 0x7b);
pub const GRID: Rgb = (0xdf, 0xe2, 0xe6);
pub const PAPER: Rgb = (0xff, 0xff, 0xfe);

/// Ten stops of cividis (Nuñez, Anderton, Renslow 2018), as matplotlib samples it.
const CIVIDIS: [Rgb; 10] = [
    (0, 34, 78),
    (18, 53, 112),
    (59, 73, 108),
    (87, 93, 109),
    (112, 113, 115),
    (138, 134, 120),
    (165, 156, 116),
    (195, 179, 105),
    (225, 204, 85),
    (254, 232, 56),
];

/// `share` from 0 (few: light) to 1 (many: dark), for a light background.
pub fn cividis(share: f64) -> Rgb {
    let at = (1.0 - share.clamp(0.0, 1.0)) * (CIVIDIS.len() - 1) as f64;
    let low = at.floor() as usize;
    let (Some(a), Some(b)) = (CIVIDIS.get(low), CIVIDIS.get(low + 1).or(CIVIDIS.get(low))) else {
        return GRID;
    };
    let t = at - low as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t).round() as u8;
    (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// Okabe-Ito (2008), in the order from near to far.
pub fn level(level: Option<&str>) -> Rgb {
    let Some(level) = level else {
        return (0x99, 0x99, 0x99);
    };
    let lower = level.to_ascii_lowercase();
    if lower.contains("remote") {
        (0xcc, 0x79, 0xa7)
    } else if lower.contains("ram") || lower.contains("mem") {
        (0xd5, 0x5e, 0x00)
    } else if lower.contains("miss") {
        // What a store missed, not what served it.
        (0xe6, 0x9f, 0x00)
    } else if lower.starts_with("l1") {
        (0x56, 0xb4, 0xe9)
    } else if lower.starts_with("lfb") {
        (0xf0, 0xe4, 0x42)
    } else if lower.starts_with("l2") {
        (0x00, 0x72, 0xb2)
    } else if lower.starts_with("l3") || lower.starts_with("llc") {
        (0x00, 0x9e, 0x73)
    } else {
        (0xe6, 0x9f, 0x00)
    }
}

/// Where a level stands on the way from the core; unknown last.
pub fn distance(level: Option<&str>) -> u8 {
    let Some(level) = level else { return 9 };
    let lower = level.to_ascii_lowercase();
    if lower.contains("remote") {
        6
    } else if lower.contains("ram") || lower.contains("mem") {
        5
    } else if lower.contains("miss") {
        4
    } else if lower.starts_with("l1") {
        0
    } else if lower.starts_with("lfb") {
        1
    } else if lower.starts_with("l2") {
        2
    } else if lower.starts_with("l3") || lower.starts_with("llc") {
        3
    } else {
        4
    }
}

/// One colour a stage of a lookup.
pub fn stage(stage: &str) -> Rgb {
    match stage {
        "header" => (0xcc, 0x79, 0xa7),
        "directory" => (0xe6, 0x9f, 0x00),
        "table" => (0xf0, 0xe4, 0x42),
        "control" => (0xd5, 0x5e, 0x00),
        "key" => (0x00, 0x72, 0xb2),
        "elem" => (0x00, 0x9e, 0x73),
        "overflow" => (0x56, 0xb4, 0xe9),
        _ => (0x99, 0x99, 0x99),
    }
}
