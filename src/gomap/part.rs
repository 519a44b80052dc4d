//! The parts of a map that an access can hit, and the stage of a lookup each belongs to.

use serde::{Deserialize, Serialize};

/// Where in a lookup a part stands: the rows of golang/go#70835's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Header,
    Directory,
    Table,
    /// The tophash bytes of a bucket, the ctrl word of a group.
    Control,
    Key,
    Elem,
    Overflow,
    /// `mapextra`: bookkeeping of overflow buckets.
    Extra,
}

macro_rules! parts {
    ($($variant:ident $name:literal $stage:ident,)*) => {
        /// A field of one of Go's map structures, named `structure.field` in the runtime's words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Part { $($variant),* }

        impl Part {
            /// Every part, in the order in which a lookup meets them.
            pub const ALL: &[Part] = &[$(Part::$variant),*];

            /// `structure.field`, as the runtime's source spells it.
            pub fn name(self) -> &'static str {
                match self { $(Part::$variant => $name),* }
            }

            pub fn stage(self) -> Stage {
                match self { $(Part::$variant => Stage::$stage),* }
            }
        }
    };
}

parts! {
    HmapCount "hmap.count" Header,
    HmapFlags "hmap.flags" Header,
    HmapB "hmap.B" Header,
    HmapNoverflow "hmap.noverflow" Header,
    HmapHash0 "hmap.hash0" Header,
    HmapBuckets "hmap.buckets" Header,
    HmapOldbuckets "hmap.oldbuckets" Header,
    HmapNevacuate "hmap.nevacuate" Header,
    HmapClearSeq "hmap.clearSeq" Header,
    HmapExtra "hmap.extra" Header,
    ExtraOverflow "extra.overflow" Extra,
    ExtraOldoverflow "extra.oldoverflow" Extra,
    ExtraNextOverflow "extra.nextOverflow" Extra,
    BmapTophash "bmap.tophash" Control,
    BmapKey "bmap.key" Key,
    BmapElem "bmap.elem" Elem,
    BmapOverflow "bmap.overflow" Overflow,
    MapUsed "Map.used" Header,
    MapSeed "Map.seed" Header,
    MapDirPtr "Map.dirPtr" Header,
    MapDirLen "Map.dirLen" Header,
    MapGlobalDepth "Map.globalDepth" Header,
    MapGlobalShift "Map.globalShift" Header,
    MapWriting "Map.writing" Header,
    MapTombstonePossible "Map.tombstonePossible" Header,
    MapClearSeq "Map.clearSeq" Header,
    DirectoryTable "directory.table_ptr" Directory,
    TableUsed "table.used" Table,
    TableCapacity "table.capacity" Table,
    TableGrowthLeft "table.growthLeft" Table,
    TableLocalDepth "table.localDepth" Table,
    TableIndex "table.index" Table,
    TableGroupsData "table.groups.data" Table,
    TableGroupsLengthMask "table.groups.lengthMask" Table,
    GroupCtrl "group.ctrl" Control,
    GroupKey "group.key" Key,
    GroupElem "group.elem" Elem,
    IndirectKey "indirect_key.key" Key,
    IndirectElem "indirect_elem.elem" Elem,
}

impl Part {
    /// The word that says that somebody writes: `hashWriting` is a bit of it, or it is `writing`.
    pub fn is_flag(self) -> bool {
        matches!(self, Part::HmapFlags | Part::MapWriting)
    }

    /// The structure that the part is a field of; `Other` for keys and elems outside of their slot.
    pub fn structure(self) -> super::Structure {
        use super::Structure;
        match self.stage() {
            Stage::Header => Structure::Header,
            Stage::Extra => Structure::Extra,
            Stage::Directory => Structure::Directory,
            Stage::Table => Structure::Table,
            _ if self >= Part::IndirectKey => Structure::Other,
            _ if self >= Part::GroupCtrl => Structure::Group,
            _ => Structure::Bucket,
        }
    }
}
