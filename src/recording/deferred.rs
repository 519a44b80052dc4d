//! `PERF_RECORD_CALLCHAIN_DEFERRED`: the user's part of call chains, unwound on the way back to user
//! space. A sample's own chain ends with a marker and a cookie instead, which the record repeats.
//!
//! `include/uapi/linux/perf_event.h`; `sample__merge_deferred_callchain` in `tools/perf/util/callchain.c`.

use super::cursor::{ByteOrder, Cursor};
use super::samples::{Chains, Samples};
use super::space::push;
use perf_event_open_sys::bindings as sys;

/// `PERF_CONTEXT_USER_DEFERRED`: the cookie follows.
const MARKER: u64 = sys::PERF_CONTEXT_USER_DEFERRED as u64;

/// Chains by cookie.
#[derive(Debug, Default)]
pub struct Deferred {
    /// Cookie, and where its frames begin: they end where those of the next one do.
    cookies: Vec<(u64, usize)>,
    frames: Vec<u64>,
}

impl Deferred {
    /// Takes the body of a record; `None` when it is too short.
    pub fn take(&mut self, body: &[u8], order: ByteOrder) -> Option<()> {
        let mut at = Cursor::new(body, order);
        let (cookie, count) = (at.u64()?, at.u64()?);
        let frames = at.words(count)?;
        push(&mut self.cookies, (cookie, self.frames.len()));
        frames.iter().for_each(|ip| push(&mut self.frames, ip));
        Some(())
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        size_of::<(u64, usize)>() * self.cookies.capacity() + 8 * self.frames.capacity()
    }

    /// Completes the chains of samples whose user's part came later, as long as all chains have no more
    /// than `most` frames: many samples may share one. Chains that nothing completes lose their cookie.
    pub fn complete(self, samples: &mut Samples, most: usize) {
        let old = &samples.chains;
        let parts = |id: u32| {
            let frames = old.get(id);
            let at = frames.iter().position(|&frame| frame == MARKER)?;
            Some((frames.get(..at)?, *frames.get(at + 1)?))
        };
        let all = 0..old.ends.len() as u32;
        if !all.clone().any(|id| parts(id).is_some()) {
            return;
        }
        let ends = self.cookies.iter().skip(1).map(|&(_, start)| start);
        let ends = ends.chain([self.frames.len()]);
        let mut by_cookie: Vec<(u64, &[u64])> = self
            .cookies
            .iter()
            .zip(ends)
            .map(|(&(cookie, start), end)| (cookie, self.frames.get(start..end).unwrap_or(&[])))
            .collect();
        by_cookie.sort_by_key(|&(cookie, _)| cookie);
        let user = |cookie: u64| {
            let found = by_cookie.binary_search_by_key(&cookie, |&(own, _)| own);
            let found = found.ok().and_then(|at| by_cookie.get(at));
            found.map_or(&[][..], |&(_, frames)| frames)
        };
        let mut new = Chains::default();
        let ids: Vec<u32> = all
            .map(|id| match parts(id) {
                None => new.add(old.get(id)),
                Some((kernel, cookie)) => {
                    let user = user(cookie);
                    let room = new.frames.len() + kernel.len() + user.len() <= most;
                    new.add(&[kernel, if room { user } else { &[] }].concat())
                }
            })
            .collect();
        let new_id = |id: u32| ids.get(id as usize).copied().unwrap_or(0);
        samples.chain = samples.chain.iter().map(new_id).collect();
        samples.chains = new;
    }
}
