//! Memory that was freed, and that the allocator keeps.

/// Gives it back to the system: glibc's allocator keeps small pieces of it, and most of a recording is in
/// small pieces.
pub fn give_back() {
    // SAFETY: other threads may allocate meanwhile.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}
