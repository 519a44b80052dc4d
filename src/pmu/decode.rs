//! What a PMU wrote in a language of its own -> ordinary samples.

use super::{amd_ibs, arm_spe};
use crate::recording::Recording;

/// Every decoder; each looks whether there is something for it, and says whether it changed samples.
const DECODERS: [fn(&mut Recording) -> bool; 2] =
    [arm_spe::decode::decode, amd_ibs::decode::decode];

/// Decodes all there is; `true` when samples were added or changed.
pub fn decode(recording: &mut Recording) -> bool {
    let mut changed = false;
    for decode in DECODERS {
        changed |= decode(recording);
    }
    changed
}
