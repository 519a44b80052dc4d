//! What map functions take and return, in Go's register ABI (`abi0` of `cmd/compile/abi-internal.md`):
//! integer arguments in AX, BX, CX, DI, SI, R8, R9, R10, R11, results in the same order.
//!
//! Names from the symbol tables of binaries built with go1.19.8 to go1.27.3; argument lists from
//! `runtime/map*.go` (1.19 to 1.25) and `internal/runtime/maps/*.go` (1.24 on).

use super::super::Operation;
use super::value::{Area, Areas, Expr, Value, What};
use crate::gomap::{Family, Structure};

use Structure::{Bucket, Buckets, Group, Header, Iter, MapType, Other, Table};

/// A map function's arguments and what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    pub args: &'static [Option<Structure>],
    /// What the first argument points to, from the start of its structure: methods of an embedded one.
    pub receiver_off: i64,
    pub operation: Operation,
    pub areas: Areas,
    /// The function is only called for a small map: `dirPtr` is its group.
    pub small: bool,
}

/// The signature of a function of the map implementation; `None` for any other function.
pub fn signature(name: &str, family: Family) -> Option<Signature> {
    let (args, operation) = match family {
        Family::Classic => classic(name)?,
        Family::Swiss => swiss(name)?,
    };
    Some(Signature {
        args,
        receiver_off: if name.contains("(*groupsReference)") {
            GROUPS
        } else {
            0
        },
        operation,
        areas: areas(name),
        small: name.contains("Small"),
    })
}

/// `table.groups`: the only `groupsReference` there is.
const GROUPS: i64 = 16;

/// The key size that a fast variant is made for.
fn areas(name: &str) -> Areas {
    let has = |s: &str| name.contains(s);
    let key_size = if has("fast32") || has("Fast32") {
        Some(4)
    } else if has("fast64") || has("Fast64") || has("FastPtr") {
        Some(8)
    } else if has("faststr") || has("FastStr") {
        Some(16)
    } else {
        None
    };
    Areas { key_size }
}

type Args = &'static [Option<Structure>];

fn entry_point(name: &str) -> Option<(Args, Operation)> {
    let name = name.strip_prefix("runtime.map")?;
    let operation = if name.starts_with("access") {
        Operation::Access
    } else if name.starts_with("assign") {
        Operation::Assign
    } else if name.starts_with("delete") {
        Operation::Delete
    } else {
        return None;
    };
    let known = |s: &str| {
        matches!(
            s,
            "1" | "2"
                | "K"
                | ""
                | "1_fat"
                | "2_fat"
                | "1_fast32"
                | "2_fast32"
                | "1_fast64"
                | "2_fast64"
                | "1_faststr"
                | "2_faststr"
                | "_fast32"
                | "_fast32ptr"
                | "_fast64"
                | "_fast64ptr"
                | "_faststr"
        )
    };
    let variant = &name["access".len()..];
    if !known(variant) {
        return None;
    }
    let args: Args = if variant.ends_with("str") {
        &[Some(MapType), Some(Header), Some(Other)]
    } else if variant.contains("fast") {
        &[Some(MapType), Some(Header)]
    } else {
        &[Some(MapType), Some(Header), Some(Other)]
    };
    Some((args, operation))
}

fn classic(name: &str) -> Option<(Args, Operation)> {
    if let Some(found) = entry_point(name) {
        return Some(found);
    }
    let name = name.strip_prefix("runtime.")?;
    Some(match name {
        "mapiterinit" => (
            &[Some(MapType), Some(Header), Some(Iter)],
            Operation::Iterate,
        ),
        "mapiternext" => (&[Some(Iter)], Operation::Iterate),
        "mapclear" => (&[Some(MapType), Some(Header)], Operation::Clear),
        "makemap" => (&[Some(MapType), None, Some(Header)], Operation::Make),
        "makemap_small" => (&[], Operation::Make),
        "makeBucketArray" => (&[Some(MapType), None, Some(Buckets)], Operation::Make),
        "hashGrow" => (&[Some(MapType), Some(Header)], Operation::Grow),
        "growWork" | "growWork_fast32" | "growWork_fast64" | "growWork_faststr" | "evacuate"
        | "evacuate_fast32" | "evacuate_fast64" | "evacuate_faststr" => {
            (&[Some(MapType), Some(Header)], Operation::Grow)
        }
        "advanceEvacuationMark" => (&[Some(Header), Some(MapType)], Operation::Grow),
        "bucketEvacuated" => (&[Some(MapType), Some(Header)], Operation::Grow),
        "(*hmap).newoverflow" => (
            &[Some(Header), Some(MapType), Some(Bucket)],
            Operation::Assign,
        ),
        "(*hmap).incrnoverflow"
        | "(*hmap).createOverflow"
        | "(*hmap).growing"
        | "(*hmap).sameSizeGrow"
        | "(*hmap).noldbuckets"
        | "(*hmap).oldbucketmask" => (&[Some(Header)], Operation::Grow),
        "(*bmap).overflow" | "(*bmap).setoverflow" => {
            (&[Some(Bucket), Some(MapType)], Operation::Access)
        }
        "(*bmap).keys" => (&[Some(Bucket)], Operation::Access),
        "evacuated" => (&[Some(Bucket)], Operation::Access),
        "overLoadFactor" | "tooManyOverflowBuckets" => (&[], Operation::Grow),
        "mapclone2" | "moveToBmap" => (&[Some(MapType)], Operation::Assign),
        _ => return None,
    })
}

fn swiss(name: &str) -> Option<(Args, Operation)> {
    if let Some(found) = entry_point(name) {
        return Some(found);
    }
    if let Some(name) = name.strip_prefix("runtime.") {
        return Some(match name {
            "mapIterStart" | "mapiterinit" => (
                &[Some(MapType), Some(Header), Some(Iter)],
                Operation::Iterate,
            ),
            "mapIterNext" | "mapiternext" => (&[Some(Iter)], Operation::Iterate),
            "mapclear" => (&[Some(MapType), Some(Header)], Operation::Clear),
            "makemap" => (&[Some(MapType), None, Some(Header)], Operation::Make),
            "makemap_small" => (&[], Operation::Make),
            _ => return None,
        });
    }
    let name = name.strip_prefix("internal/runtime/maps.")?;
    let (args, operation): (Args, Operation) = match name {
        "(*Iter).Init" => (
            &[Some(Iter), Some(MapType), Some(Header)],
            Operation::Iterate,
        ),
        "(*Iter).Next" | "(*Iter).Key" | "(*Iter).Elem" => (&[Some(Iter)], Operation::Iterate),
        "(*Iter).grownKeyElem" => (&[Some(Iter), Some(Other)], Operation::Iterate),
        "(*Map).Clear" | "(*Map).clearSmall" => (&[Some(Header), Some(MapType)], Operation::Clear),
        "(*Map).growToSmall" | "(*Map).growToTable" => {
            (&[Some(Header), Some(MapType)], Operation::Grow)
        }
        "(*Map).Delete" => (
            &[Some(Header), Some(MapType), Some(Other)],
            Operation::Delete,
        ),
        "(*Map).deleteSmall" => (
            &[Some(Header), Some(MapType), None, Some(Other)],
            Operation::Delete,
        ),
        "(*Map).getWithKey" => (
            &[Some(Header), Some(MapType), Some(Other)],
            Operation::Access,
        ),
        "(*Map).getWithKeySmall" => (
            &[Some(Header), Some(MapType), None, Some(Other)],
            Operation::Access,
        ),
        "(*Map).getWithoutKey" => (
            &[Some(Header), Some(MapType), Some(Other)],
            Operation::Access,
        ),
        "(*Map).getWithoutKeySmallFastStr" => (
            &[Some(Header), Some(MapType), Some(Other)],
            Operation::Access,
        ),
        "(*Map).PutSlot" => (
            &[Some(Header), Some(MapType), Some(Other)],
            Operation::Assign,
        ),
        "(*Map).putSlotSmall" => (
            &[Some(Header), Some(MapType), None, Some(Other)],
            Operation::Assign,
        ),
        "(*Map).putSlotSmallFastStr" => (
            &[Some(Header), Some(MapType), None, Some(Other)],
            Operation::Assign,
        ),
        "(*Map).putSlotSmallFast32"
        | "(*Map).putSlotSmallFast64"
        | "(*Map).putSlotSmallFastPtr" => (&[Some(Header), Some(MapType)], Operation::Assign),
        "(*Map).installTableSplit" => (
            &[Some(Header), Some(Table), Some(Table), Some(Table)],
            Operation::Grow,
        ),
        "(*Map).replaceTable" => (&[Some(Header), Some(Table)], Operation::Grow),
        "(*Map).directoryIndex" | "(*Map).directoryAt" | "(*Map).Used" => {
            (&[Some(Header)], Operation::Access)
        }
        "(*Map).directorySet" => (&[Some(Header), None, Some(Table)], Operation::Grow),
        "(*Iter).nextDirIdx" => (&[Some(Iter)], Operation::Iterate),
        "(*groupsReference).group" => (&[Some(Table), Some(MapType)], Operation::Access),
        "(*groupReference).ctrls" | "(*groupReference).key" | "(*groupReference).elem" => {
            (&[Some(Other), Some(MapType)], Operation::Access)
        }
        "cloneGroup" => (&[Some(MapType), Some(Group), Some(Group)], Operation::Make),
        "(*table).maxGrowthLeft" | "(*table).tombstones" => (&[Some(Table)], Operation::Access),
        "(*table).Clear" => (&[Some(Table), Some(MapType)], Operation::Clear),
        "(*table).reset" | "(*table).resetGrowthLeft" => {
            (&[Some(Table), Some(MapType)], Operation::Grow)
        }
        "(*table).Delete" => (
            &[Some(Table), Some(MapType), Some(Header), None, Some(Other)],
            Operation::Delete,
        ),
        "(*table).getWithKey" | "(*table).getWithoutKey" => (
            &[Some(Table), Some(MapType), None, Some(Other)],
            Operation::Access,
        ),
        "(*table).grow" | "(*table).rehash" | "(*table).split" | "(*table).pruneTombstones" => {
            (&[Some(Table), Some(MapType), Some(Header)], Operation::Grow)
        }
        "(*table).uncheckedPutSlot" => (
            &[Some(Table), Some(MapType), None, Some(Other), Some(Other)],
            Operation::Grow,
        ),
        "(*table).uncheckedPutSlotForAssign" | "(*table).uncheckedPutSlotForAssignFastStr" => (
            &[Some(Table), Some(MapType), None, Some(Other)],
            Operation::Assign,
        ),
        "(*table).uncheckedPutSlotForAssignFast32"
        | "(*table).uncheckedPutSlotForAssignFast64"
        | "(*table).uncheckedPutSlotForAssignFastPtr" => {
            (&[Some(Table), Some(MapType)], Operation::Assign)
        }
        "(*ctrlGroup).set" | "(*ctrlGroup).setEmpty" | "(*ctrlGroup).get" => {
            (&[Some(Group)], Operation::Access)
        }
        "NewMap" => (&[Some(MapType), None, Some(Header)], Operation::Make),
        "NewEmptyMap" => (&[], Operation::Make),
        "newTable" => (&[Some(MapType)], Operation::Grow),
        "newarray" => return None,
        _ => return None,
    };
    Some((args, operation))
}

/// A pointer into an area of some bucket or group, which one is not known.
fn somewhere(structure: Structure, area: Area) -> Value {
    Value {
        what: What::At(structure),
        area,
        expr: Expr::constant(0),
        origin: 0,
        slot: 0,
    }
}

/// Result registers (AX, BX, ...) of functions called from map code. `args` are the values at the
/// call, `structure_of` names the structure that a type descriptor's address describes.
pub fn results(
    name: &str,
    family: Family,
    args: &[Value],
    structure_of: impl Fn(u64) -> Option<Structure>,
) -> Vec<Value> {
    let whole = |structure| vec![Value::at(structure, 0)];
    let (array, element) = match family {
        Family::Classic => (Structure::Buckets, Structure::Bucket),
        Family::Swiss => (Structure::Groups, Structure::Group),
    };
    let allocated = |descriptor: Option<&Value>, of_bucket: Structure| match descriptor {
        Some(Value {
            what: What::At(Structure::BucketRtype),
            ..
        }) => whole(of_bucket),
        Some(Value {
            what: What::Number,
            expr,
            ..
        }) => expr
            .as_constant()
            .and_then(|c| structure_of(c as u64))
            .map_or_else(Vec::new, whole),
        _ => Vec::new(),
    };
    match name {
        "runtime.(*hmap).newoverflow" => whole(Structure::Bucket),
        "runtime.makeBucketArray" => {
            vec![
                Value::at(Structure::Buckets, 0),
                Value::at(Structure::Bucket, 0),
            ]
        }
        "runtime.makemap"
        | "runtime.makemap_small"
        | "internal/runtime/maps.NewMap"
        | "internal/runtime/maps.NewEmptyMap" => whole(Structure::Header),
        "internal/runtime/maps.newTable" | "internal/runtime/maps.(*Map).growToTable" => {
            whole(Structure::Table)
        }
        "internal/runtime/maps.(*table).getWithKey" | "internal/runtime/maps.(*Map).getWithKey" => {
            vec![
                somewhere(Structure::Group, Area::Key),
                somewhere(Structure::Group, Area::Elem),
            ]
        }
        "runtime.mapaccessK" => {
            vec![
                somewhere(Structure::Bucket, Area::Key),
                somewhere(Structure::Bucket, Area::Elem),
            ]
        }
        "runtime.makeslice" => allocated(args.first(), array),
        "runtime.newobject" | "internal/runtime/maps.newobject" => allocated(args.first(), element),
        "runtime.newarray" | "internal/runtime/maps.newarray" => allocated(args.first(), array),
        _ if name.starts_with("runtime.mallocgc") => allocated(args.get(1), array),
        _ => Vec::new(),
    }
}
