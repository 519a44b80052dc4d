//! How the frames spell the enums of the stages before: as serde does.

use crate::attribute::{Evidence, Operation, Phase};
use crate::gomap::Stage;
use crate::recording::GapKind;

macro_rules! words {
    ($($function:ident $type:ident { $($variant:ident $word:literal)* })*) => {
        $(pub fn $function(value: $type) -> &'static str {
            match value { $($type::$variant => $word),* }
        })*

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn words_are_those_of_serde() {
                $($(assert_eq!(
                    serde_json::to_value($type::$variant).unwrap(),
                    serde_json::Value::from($word)
                );)*)*
            }
        }
    };
}

words! {
    stage_name Stage {
        Header "header" Directory "directory" Table "table" Control "control" Key "key"
        Elem "elem" Overflow "overflow" Extra "extra"
    }
    evidence_name Evidence {
        None "none" Code "code" Address "address" CallSite "call_site" Position "position"
        LearnedRegion "learned_region" Heap "heap" Registers "registers"
    }
    operation_name Operation {
        Access "access" Assign "assign" Delete "delete" Iterate "iterate" Grow "grow"
        Clear "clear" Make "make"
    }
    phase_name Phase {
        CheckFlags "check_flags" SetFlag "set_flag" ClearFlag "clear_flag" Hash "hash" Locate "locate" CompareControl "compare_control"
        CompareKey "compare_key" ReadElem "read_elem" WriteElem "write_elem"
        WriteControl "write_control" Clear "clear"
        WriteKey "write_key" ClearKey "clear_key" ClearElem "clear_elem"
        MarkEmpty "mark_empty" BackPropagate "back_propagate" Count "count"
        Evacuate "evacuate" Iterate "iterate" Allocate "allocate" NilCheck "nil_check"
    }
    gap_name GapKind {
        Lost "lost" LostSamples "lost_samples" Throttle "throttle" Unthrottle "unthrottle"
        AuxTruncated "aux_truncated" AuxPartial "aux_partial" AuxCollision "aux_collision"
    }
}
