//! The arithmetic from an address to bucket, slot and byte, with the numbers of one sample.

use crate::attribute::Attribution;
use crate::attribute::trace::Trace;
use crate::gomap::{MapType, Part, Shape, Stage, Structure};

/// One line a step; empty where nothing is known of the object.
pub fn arithmetic(attribution: &Attribution, trace: &Trace, n: usize) -> Vec<String> {
    let Some(last) = trace.steps.last() else {
        return Vec::new();
    };
    let (Ok(part), address, base) = (last.part, last.address, last.base) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    let in_bucket = matches!(part.structure(), Structure::Bucket | Structure::Group);
    let hit = attribution.hit(n);
    let map_type = attribution
        .maps
        .get(hit.map as usize)
        .and_then(|map| map.map_type.as_ref())
        .or(last.shape.as_ref());
    if let (true, Some(t)) = (in_bucket, map_type) {
        lines.push(shape(t));
    }
    let Some(off) = address.checked_sub(base).filter(|_| base != 0) else {
        return lines;
    };
    let structure = match part.structure() {
        Structure::Other => part.name(),
        _ => part.name().split('.').next().unwrap_or(""),
    };
    lines.push(format!("{address:#x} - {structure} {base:#x} = {off}"));
    if let (true, Some(t)) = (in_bucket, map_type) {
        lines.push(spot(t, part, off));
    }
    if let Some(array) = attribution.arrays.get(hit.array as usize)
        && let Some(distance) = base.checked_sub(array.base)
        && array.stride != 0
    {
        lines.push(format!(
            "index ({base:#x} - {:#x}) / {} = {}",
            array.base,
            array.stride,
            distance / array.stride
        ));
    }
    lines
}

fn shape(t: &MapType) -> String {
    match t.shape {
        Shape::Classic {
            key_stride,
            elem_stride,
            bucket_size,
            ..
        } => format!(
            "{}: a bucket has {bucket_size} bytes: tophash at 0, keys at 8 + {key_stride}*slot, \
             elems at {} + {elem_stride}*slot, overflow at {}",
            t.name,
            8 + 8 * key_stride,
            bucket_size.saturating_sub(8)
        ),
        Shape::Swiss {
            group_size,
            keys_off,
            key_stride,
            elems_off,
            elem_stride,
        } => format!(
            "{}: a group has {group_size} bytes: ctrl at 0, keys at {keys_off} + \
             {key_stride}*slot, elems at {elems_off} + {elem_stride}*slot",
            t.name
        ),
    }
}

/// Where `off` lies in a bucket or group.
fn spot(t: &MapType, part: Part, off: u64) -> String {
    let (start, stride) = match (t.shape, part.stage()) {
        (_, Stage::Control) => (0, 1),
        (Shape::Classic { key_stride, .. }, Stage::Key) => (8, key_stride),
        (
            Shape::Classic {
                key_stride,
                elem_stride,
                ..
            },
            Stage::Elem,
        ) => (8 + 8 * key_stride, elem_stride),
        (
            Shape::Swiss {
                keys_off,
                key_stride,
                ..
            },
            Stage::Key,
        ) => (keys_off, key_stride),
        (
            Shape::Swiss {
                elems_off,
                elem_stride,
                ..
            },
            Stage::Elem,
        ) => (elems_off, elem_stride),
        _ => return format!("{off} is {}", part.name()),
    };
    let found = t.spot_at(off).filter(|spot| spot.part == part);
    match found.and_then(|spot| Some((spot.slot?, spot.field_off))) {
        Some((slot, byte)) => format!(
            "{}: slot ({off} - {start}) / {stride} = {slot}, byte {byte} of it",
            part.name()
        ),
        None => format!("{off} is no {} of this layout", part.name()),
    }
}
